"""The appliance's image in a virtual machine (qemu), as a hypervisor would run it: disks, screen, serial line, ports.

Uses KVM where that really runs a guest, else software emulation, in which a start takes minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.ports import free_port

START_SECONDS = float(os.environ.get("MAILKEEP_IMAGE_SECONDS", "900"))
_TOOLS = ("qemu-system-x86_64", "qemu-img", "mkfs.vfat", "mcopy", "ssh", "ssh-keygen", "swaks")
_FIRMWARE = (Path("/usr/share/OVMF/OVMF_CODE_4M.ms.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd"))
"""Firmware that starts only what Microsoft has signed, and what is vouched for by that: Secure Boot."""
_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-Za-z]|[=>78cDEHM])")


def why_not(*, uefi: bool = False) -> str:
    """Why no machine can be started here; empty where one can."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"there is no {missing[0]} here (`make test-image` installs it)"
    if uefi and not all(path.exists() for path in _FIRMWARE):
        return "there is no UEFI firmware here (Debian: ovmf)"
    return ""


@cache
def accelerator() -> list[str]:
    """qemu's arguments for the processor: MAILKEEP_ACCEL=kvm or tcg, else KVM if it offers what a guest needs."""
    choice = os.environ.get("MAILKEEP_ACCEL") or ("kvm" if _kvm_runs_guests() else "tcg")
    return ["-accel", "kvm" if choice == "kvm" else "tcg,thread=multi", "-cpu", "max"]


def _kvm_runs_guests() -> bool:
    """A KVM that is itself emulated may have no SSE, and then Debian's kernel does not start under it."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    probe = [
        "qemu-system-x86_64", "-accel", "kvm", "-cpu", "qemu64,-svm,+ssse3,+sse4.1,+sse4.2,+popcnt,enforce",
        "-display", "none", "-nodefaults", "-S", "-monitor", "stdio",
    ]  # fmt: skip
    try:
        return subprocess.run(probe, input=b"quit\n", capture_output=True, timeout=30, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@dataclass
class Virtual:
    """One virtual machine: its disks lie in `folder` and outlive a start."""

    folder: Path
    image: Path
    uefi: bool = False
    size: int = 12  # GiB of the first disk: more than the image has, which must grow
    ports: dict[int, int] = field(default_factory=dict)  # port inside: port of this machine
    seed: Mapping[str, str] | None = None  # cloud-init's files; None: no such disk
    data_disk: bool = True
    strange_disk: Path | None = None  # raw; comes before the data disk
    _process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.ports = {inside: free_port() for inside in (25, 80, 443, 995, 22)}
        _run(
            *("qemu-img", "create", "-q", "-f", "qcow2", "-b", self.image.resolve(), "-F", "qcow2"),
            *(self.folder / "system.qcow2", f"{self.size}G"),
        )
        _run("qemu-img", "create", "-q", "-f", "qcow2", self.folder / "data.qcow2", "4G")
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "key")
        if self.uefi:
            shutil.copy(_FIRMWARE[1], self.folder / "variables.fd")

    @property
    def key(self) -> str:
        """The public key that cloud-init may be given."""
        return (self.folder / "key.pub").read_text().strip()

    def start(self) -> None:
        """Switches it on; returns at once."""
        command = [
            *("qemu-system-x86_64", *accelerator(), "-smp", "2", "-m", "2048", "-display", "none", "-nodefaults"),
            # The screen has 80 columns and 28 lines with the image's font of 8 by 14.
            *("-device", "VGA,edid=on,xres=640,yres=400"),
            *("-drive", f"file={self.folder / 'system.qcow2'},if=virtio"),
            *("-netdev", "user,id=net," + ",".join(f"hostfwd=tcp:127.0.0.1:{o}-:{i}" for i, o in self.ports.items())),
            *("-device", "virtio-net-pci,netdev=net"),
            *("-qmp", f"unix:{self.folder / 'qmp'},server=on,wait=off"),
            *("-chardev", f"socket,id=line,path={self.folder / 'line'},server=on,wait=off,logfile={self._line}"),
            *("-serial", "chardev:line"),
        ]
        if self.strange_disk is not None:
            command += ["-drive", f"file={self.strange_disk},if=virtio,format=raw"]
        if self.data_disk:
            command += ["-drive", f"file={self.folder / 'data.qcow2'},if=virtio"]
        if self.seed is not None:
            command += ["-drive", f"file={self._write_seed(self.seed)},if=virtio,format=raw,readonly=on"]
        if self.uefi:
            command += ["-machine", "q35,smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on"]
            command += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={_FIRMWARE[0]}"]
            command += ["-drive", f"if=pflash,format=raw,unit=1,file={self.folder / 'variables.fd'}"]
        self._line.unlink(missing_ok=True)
        with (self.folder / "qemu.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def cut_power(self) -> None:
        """What the guest had not written to its disks is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def shut_down(self, seconds: float = 300) -> None:
        """Presses the power button and waits until it is off."""
        assert self._process is not None
        self._order("system_powerdown")
        self._process.wait(seconds)
        self._process = None

    @property
    def running(self) -> bool:
        """Whether it is on."""
        return self._process is not None and self._process.poll() is None

    @property
    def line(self) -> str:
        """All that came over the serial line since it was switched on, without escape sequences."""
        content = self._line.read_bytes() if self._line.exists() else b""
        return _ESCAPES.sub(b"", content).decode(errors="replace")

    def picture(self, out: Path) -> None:
        """Writes what is on the screen as PNG."""
        self._order("screendump", filename=str(out.resolve()), format="png")

    def press(self, *keys: str) -> None:
        """Presses one key after the other (qemu's names: "ret", "f10", "a")."""
        for key in keys:
            self._order("send-key", keys=[{"type": "qcode", "data": key}])

    def ask(self, *command: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Runs a command inside as root, over SSH."""
        return subprocess.run(self._inside(*command), capture_output=True, text=True, timeout=seconds, check=False)

    def run(self, *command: str, seconds: float = 120) -> str:
        """What a command printed. Raises AssertionError where it fails."""
        done = self.ask(*command, seconds=seconds)
        assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def put(self, path: str, content: bytes, seconds: float = 120) -> None:
        """Writes a file inside, as root."""
        subprocess.run(self._inside("tee", path), input=content, stdout=subprocess.DEVNULL, timeout=seconds, check=True)

    def wait(self, what: str, holds: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """Returns when `holds()`. Raises AssertionError with the end of the serial line where it never does."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired, OSError):
                if holds():
                    return
            assert self.running, f"the machine went off: {(self.folder / 'qemu.log').read_text()}"
            assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s; serial line:\n{self.line[-3000:]}"
            time.sleep(3)

    def answers_ssh(self) -> bool:
        """Whether one can sign in by SSH."""
        return self.ask("true").returncode == 0

    def greeting(self, port: int) -> bytes:
        """The first bytes that `port` of the machine says by itself; none where nobody is there."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[port]), 30) as connection:
            return connection.recv(100)
        return b""

    @property
    def _line(self) -> Path:
        return self.folder / "line.log"

    def _inside(self, *command: str) -> list[str]:
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=20", "LogLevel=ERROR")
        return [
            *("ssh", "-i", str(self.folder / "key"), "-p", str(self.ports[22])),
            *(part for option in options for part in ("-o", option)),
            *("keeper@127.0.0.1", "sudo", *command),
        ]

    def _order(self, name: str, **arguments: Any) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(self.folder / "qmp"))
            with connection.makefile("rw") as stream:
                stream.readline()
                for order in ({"execute": "qmp_capabilities"}, {"execute": name, "arguments": arguments}):
                    stream.write(json.dumps(order) + "\n")
                    stream.flush()
                    answer: dict[str, Any] = {"event": ""}
                    while "event" in answer:
                        answer = json.loads(stream.readline())
                    assert "error" not in answer, f"{name}: {answer['error']}"

    def _write_seed(self, files: Mapping[str, str]) -> Path:
        """cloud-init's NoCloud: a FAT disk labelled CIDATA."""
        seed = self.folder / "seed.img"
        seed.unlink(missing_ok=True)
        _run("mkfs.vfat", "-C", "-n", "CIDATA", seed, "1024")
        for name, content in files.items():
            _run("mcopy", "-i", seed, "-", f"::{name}", given=content.encode())
        return seed


def _run(*command: str | Path, given: bytes = b"") -> None:
    done = subprocess.run([str(part) for part in command], input=given, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr.decode(errors='replace')}"
