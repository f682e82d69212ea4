"""What a process gives up before it reads what strangers sent: files, network, memory, being looked into.

Every function works on the calling process (Landlock and seccomp: on the calling thread and what it starts, so
call them before other threads run) and cannot be undone. Those that return a bool say whether the kernel took
the restriction: older kernels and some containers do not have it, and the caller decides what that means.

Sources: landlock(7), seccomp(2), prctl(2), setrlimit(2), unshare(2), mlockall(2).
"""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import os
import platform
import resource
import signal
import socket
import stat
import struct
import sysconfig
from collections.abc import Iterable
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWNET = 0x40000000
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_CAP_IPC_LOCK = 14

# Landlock's system calls have one number on all architectures (they came after the tables were unified).
_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_ADD_RULE = 445
_LANDLOCK_RESTRICT_SELF = 446
_LANDLOCK_CREATE_RULESET_VERSION = 1
_LANDLOCK_RULE_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_AND_MAKE = 0b1_1111_1111 << 4  # REMOVE_DIR … MAKE_SYM
_REFER, _TRUNCATE, _IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE
_READ = _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _REMOVE_AND_MAKE | _REFER | _TRUNCATE


def restrict_filesystem(*, read: Iterable[Path], write: Iterable[Path], names: Iterable[Path] = ()) -> bool:
    """Allow reading only below ``read`` and ``write``, changing only below ``write``; open files stay usable.

    Below ``names`` folders may be listed, but no file be opened. Paths that do not exist are passed over. Nothing may
    be executed any more, and no privileges be gained.
    Returns False where the kernel has no Landlock. Raises OSError if Landlock is there but refuses the rules.
    """
    abi = landlock_version()
    if abi < 1:
        return False
    handled = _handled_rights(abi)
    ruleset = _syscall(_LANDLOCK_CREATE_RULESET, struct.pack("=Q", handled), 8, 0)
    try:
        for rights, paths in ((_READ, read), (_WRITE, write), (_READ_DIR, names)):
            for path in paths:
                _allow_beneath(ruleset, path, rights & handled)
        no_new_privileges()
        _syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return True


def code_folders(*packages: str) -> list[Path]:
    """Folders of modules, which may be loaded late; never the folder above them, which may hold the data."""
    folders = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    for package in packages:
        spec = importlib.util.find_spec(package)
        folders += [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    return folders


def forbid_network() -> bool:
    """Refuse every new socket (EACCES), of whatever family; sockets and pipes already open stay usable.

    A seccomp filter does it; where that is not to be had, an empty network namespace, which leaves Unix
    sockets that have a path. Returns False if neither could be had.
    """
    return _refuse_sockets() or _leave_network()


def only_unix_sockets() -> bool:
    """Refuse every new socket (EACCES) but Unix ones; sockets already open stay usable, listening ones accept.

    Where seccomp is not to be had, an empty network namespace does the same. Returns False if neither could be had.
    """
    return _refuse_sockets(but=socket.AF_UNIX) or _leave_network()


def limit(
    *,
    memory: int | None = None,
    cpu_seconds: int | None = None,
    files: int | None = None,
    file_size: int | None = None,
) -> None:
    """Bound address space (bytes), CPU time (seconds), open files and the size of any file written (bytes).

    None leaves a limit as it is. Core dumps, which would hold mail, are switched off in every case.
    """
    wanted = (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_CORE, 0),
    )
    for kind, value in wanted:
        if value is None:
            continue
        hard = resource.getrlimit(kind)[1]
        bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bounded, bounded))


def undumpable() -> None:
    """Keep other processes of this user from reading this one's memory, and the kernel from dumping it."""
    _prctl(_PR_SET_DUMPABLE, 0)


def lock_memory() -> bool:
    """Keep this process's memory, now and later, out of swap: each page from when it is first touched (mlockall(2)).

    Returns False, and changes nothing, where the system grants less than all of it: under a limit on locked memory
    every allocation beyond the limit would fail.
    """
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    if hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
    elif not _has_capability(_CAP_IPC_LOCK):
        return False
    return int(_libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)) == 0


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread (!) that started it ends, however it ends."""
    parent = os.getppid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have gone before the line above took effect; then no signal will ever come.
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def no_new_privileges() -> None:
    """Let no later execve give this process more than it has (set-uid programs, file capabilities)."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return bool(int(value, 16) >> number & 1)
    return False


def landlock_version() -> int:
    """The version of the kernel's Landlock (its ABI); 0 where there is none."""
    try:
        return _syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            return 0
        raise


def _handled_rights(abi: int) -> int:
    rights = _EXECUTE | _READ | _WRITE_FILE | _REMOVE_AND_MAKE
    if abi >= 2:
        rights |= _REFER
    if abi >= 3:
        rights |= _TRUNCATE
    if abi >= 5:
        rights |= _IOCTL_DEVICE
    return rights


def _allow_beneath(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _FILE_RIGHTS
        rule = struct.pack("=Qi", rights, descriptor)
        _syscall(_LANDLOCK_ADD_RULE, ruleset, _LANDLOCK_RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)


# machine: (AUDIT_ARCH_*, number of socket(2)); io_uring_setup, which can make sockets too, is 425 everywhere.
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_IO_URING_SETUP = 425
_X32_BIT = 0x40000000
_SECCOMP_MODE_FILTER = 2
_SECCOMP_ALLOW, _SECCOMP_ERRNO, _SECCOMP_KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD_WORD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _refuse_sockets(*, but: int = -1) -> bool:
    """All but those of the address family ``but``, if there is one."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return False
    architecture, socket_number = machine
    # (code, skip if true, skip if false, operand); seccomp_data: nr at 0, arch at 4, args from 16 (8 bytes each,
    # little-endian on these machines; the kernel takes the family as 32 bits too)
    instructions = (
        (_LOAD_WORD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _SECCOMP_KILL),  # 32-bit entry points would have other numbers
        (_LOAD_WORD, 0, 0, 0),
        (_JUMP_EQUAL, 5, 0, _IO_URING_SETUP),
        (_JUMP_AT_LEAST, 4, 0, _X32_BIT),
        (_JUMP_EQUAL, 0, 2, socket_number),
        (_LOAD_WORD, 0, 0, 16),
        (_JUMP_EQUAL, 0, 1, but & 0xFFFF_FFFF),
        (_RETURN, 0, 0, _SECCOMP_ALLOW),
        (_RETURN, 0, 0, _SECCOMP_ERRNO | errno.EACCES),
    )
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    program = _FilterProgram(len(instructions), code)
    no_new_privileges()
    try:
        _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program))
    except OSError:
        return False
    return True


def _leave_network() -> bool:
    return int(_libc.unshare(_CLONE_NEWNET)) == 0


def _prctl(option: int, *arguments: object) -> None:
    padded = [*arguments, 0, 0, 0, 0][:4]
    if _libc.prctl(option, *(_long(value) for value in padded)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _syscall(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *(_long(value) for value in arguments)))
    if result < 0:
        failure = ctypes.get_errno()
        raise OSError(failure, os.strerror(failure))
    return result


def _long(value: object) -> object:
    # Variadic C functions take machine words; ctypes would pass plain integers as 32-bit ints.
    return ctypes.c_ulong(value) if isinstance(value, int) else value
