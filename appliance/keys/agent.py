"""The key agent: the one process that has the unlocked keys. ``python -m appliance.keys.agent --keyring FILE …``

It listens on a Unix socket for processes of root and of its own user, each in the role that its secret gives it
(``agent_wire``). It never has a network, cannot be looked into (``/proc/<pid>/mem``, ptrace, core files) by other
processes of its user, and its memory is locked where the system grants that.

At start it unlocks itself with the passphrase from standard input, else with the systemd credential, else with the
keyfile; where none is there or fits it starts locked. A wrong passphrase ends it with exit code 2. To lock again it
forgets by starting itself anew in the same process (execve): nothing of its memory is left. It prints ``ready``.
"""

from __future__ import annotations

import argparse
import logging
import os
import pwd
import secrets
import signal
import sys
import threading
from functools import partial
from pathlib import Path

from appliance import confine
from appliance.errors import KeyringError, MailkeepError
from appliance.files import FILES, read_file, replace_file
from appliance.host import logs
from appliance.host.notify import Notifier
from appliance.keys.agent_server import AgentServer
from appliance.keys.agent_wire import ROLES, Role, role_secret
from appliance.keys.vault import Vault

log = logging.getLogger("mailkeep")

CREDENTIAL = "mailkeep"
"""Name of the systemd credential (systemd.exec(5), LoadCredentialEncrypted=)."""
EXIT_WRONG_PASSPHRASE = 2

_LISTENING = "--listening"
_MOST_OPEN_FILES = 4096
_STACK = 512 * 1024
_SECRET_BYTES = 32
_SECRET_MODE = 0o640
"""For the group of its folder; where all run under one user there is nobody in it."""


def main() -> int:
    """Run until SIGTERM, or until the parent dies."""
    given = _arguments()
    logs.set_up("key agent")
    notifier = Notifier.from_environment()  # later there is no socket to be had
    memory_locked = _harden()
    try:
        vault = Vault(given.keyring, memory_locked=memory_locked)
        if given.listening is None:
            _unlock_at_start(vault, given)
        callers = {pwd.getpwnam(name).pw_uid for name in given.caller}
        server = AgentServer(
            vault, _role_secrets(given), callers=callers, start_again=partial(_start_again, notifier), notifier=notifier
        )
        listening = given.listening if given.listening is not None else server.listen(given.socket)
    except _WrongPassphraseError as error:
        log.error("%s", error.message)
        return EXIT_WRONG_PASSPHRASE
    except MailkeepError as error:
        log.error("%s", error.message)
        return 1
    confine.forbid_network()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))  # nothing is half done on the disk at any moment
    if given.listening is None:
        notifier.ready()
    server.run(listening)
    return 0


class _WrongPassphraseError(KeyringError):
    """The passphrase on standard input does not open the keyring."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="appliance.keys.agent")
    parser.add_argument("--keyring", type=Path, required=True)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument(
        "--secrets", type=Path, required=True, help="folder for the roles' folders, each with its secret"
    )
    parser.add_argument("--keyfile", type=Path)
    parser.add_argument("--caller", default=[], action="append", metavar="USER", help="answer this user too")
    parser.add_argument("--passphrase-stdin", action="store_true")
    parser.add_argument(_LISTENING, type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _harden() -> bool:
    """Give up what could give the keys away; whether the memory is locked."""
    confine.die_with_parent()
    confine.limit(files=_MOST_OPEN_FILES)
    confine.undumpable()
    threading.stack_size(_STACK)
    return confine.lock_memory()


def _unlock_at_start(vault: Vault, given: argparse.Namespace) -> None:
    if given.passphrase_stdin:
        passphrase = sys.stdin.readline().rstrip("\n")
        try:
            vault.open("passphrase", lambda keyring: keyring.unlock_with_passphrase(passphrase))
        except KeyringError as error:
            raise _WrongPassphraseError(error.message) from error
        return
    credential = _credential()
    keyfile: Path | None = given.keyfile
    try:
        if credential is not None:
            vault.open("credential", lambda keyring: keyring.unlock_with_credential(credential))
            return
    except KeyringError as error:
        log.warning("%s", error.message)
    try:
        if keyfile is not None and keyfile.exists():
            vault.open("keyfile", lambda keyring: keyring.unlock_with_keyfile(keyfile))
    except KeyringError as error:
        log.warning("%s", error.message)


def _credential() -> bytes | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    try:
        return read_file(FILES, Path(folder) / CREDENTIAL)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("the systemd credential cannot be read (%s)", error.strerror)
        return None


def _role_secrets(given: argparse.Namespace) -> dict[str, Role]:
    """Roles by secret; new ones at each start, but not when the agent was locked: its callers know them."""
    roles: dict[str, Role] = {}
    given.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    for role in ROLES:
        path = role_secret(given.secrets, role)
        if given.listening is None:
            secret = secrets.token_hex(_SECRET_BYTES)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            replace_file(FILES, path, secret.encode("ascii"), _SECRET_MODE)
        else:
            secret = read_file(FILES, path).decode("ascii")
        roles[secret] = role
    return roles


def _start_again(notifier: Notifier, listening: int) -> None:
    """Become a locked agent that has never known a key. Does not return."""
    arguments = sys.orig_argv[1:]
    if _LISTENING not in arguments:
        arguments += [_LISTENING, str(listening)]
    confine.die_with_parent()  # the wish is the thread's, and it is this thread that goes on
    try:
        os.set_inheritable(listening, True)
        notifier.hand_over()
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - the same program, without a shell
    except OSError as error:
        log.error("the agent could not start itself anew (%s); it ends", error)
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
