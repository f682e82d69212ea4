"""A private Dovecot on loopback: real IMAP and POP3, over a Maildir for each user.

It needs Debian's dovecot-imapd, for POP3 dovecot-pop3d, and root, since Dovecot changes its user. Every user has the
password ``PASSWORD``; the master user opens every mailbox by ``MASTER_PASSWORD``.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.keys.certificate import ensure_certificate
from tests.ports import free_port

PASSWORD = "the_users_own"
MASTER, MASTER_PASSWORD = "master", "opens_them_all"
_START = 30.0
_BINARY = Path("/usr/lib/dovecot/imap")
_POP3 = Path("/usr/lib/dovecot/pop3")

_MAILBOXES = """
  mailbox Entwürfe {
    special_use = \\Drafts
  }
  mailbox Sent {
    special_use = \\Sent
  }
  mailbox Müll {
    special_use = \\Trash
  }
  mailbox Alles {
    special_use = \\All
  }
"""


def why_not(*, pop3: bool = False) -> str:
    """Why Dovecot cannot be started here; "" if it can."""
    if not _BINARY.exists():
        return "needs Debian's dovecot-imapd"
    if pop3 and not _POP3.exists():
        return "needs Debian's dovecot-pop3d"
    return "" if os.geteuid() == 0 else "needs root: Dovecot changes its user"


class Dovecot:
    """One instance. ``plain`` and ``tls`` are its ports, ``pop3`` and ``pop3s`` those of POP3; ``ca`` is its
    certificate, as PEM."""

    def __init__(
        self,
        folder: Path,
        *,
        capability: str = "",
        tokens: str = "",
        separator: str = "/",
        plugins: str = "",
    ) -> None:
        """Dovecot's user must be able to enter ``folder``. ``capability`` replaces what the server says that it can;
        ``tokens`` is a URL that tells whose a token is."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        self.plain, self.tls, self.pop3, self.pop3s = free_port(), free_port(), free_port(), free_port()
        certificate, key = ensure_certificate(folder / "tls", "localhost")
        self.ca = certificate.read_text()
        (folder / "mail").mkdir(exist_ok=True)
        shutil.chown(folder / "mail", "nobody")
        nobody = pwd.getpwnam("nobody")
        (folder / "masters").write_text(f"{MASTER}:{{PLAIN}}{MASTER_PASSWORD}\n")
        self._config = folder / "dovecot.conf"
        self._config.write_text(
            f"""
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap{" pop3" if _POP3.exists() else ""}
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
listen = 127.0.0.1
first_valid_uid = 1
disable_plaintext_auth = no
auth_master_user_separator = *
auth_failure_delay = 0
auth_mechanisms = plain login{" xoauth2 oauthbearer" if tokens else ""}
mail_location = maildir:{folder}/mail/%u
mail_max_userip_connections = 100
{f"imap_capability = {capability}" if capability else ""}
{f"mail_plugins = {plugins}" if plugins else ""}
{f"protocol imap {{{chr(10)}  mail_plugins = {plugins}{chr(10)}}}" if plugins else ""}
passdb {{
  driver = passwd-file
  args = {folder}/masters
  master = yes
}}
{self._oauth(tokens) if tokens else ""}
passdb {{
  driver = static
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid={nobody.pw_uid} gid={nobody.pw_gid} home={folder}/mail/%u allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
{_MAILBOXES}
}}
service imap-login {{
  inet_listener imap {{
    port = {self.plain}
  }}
  inet_listener imaps {{
    port = {self.tls}
    ssl = yes
  }}
}}
{self._pop3_login() if _POP3.exists() else ""}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""
        )
        self._started = False

    def start(self) -> None:
        """Serve."""
        subprocess.run(["dovecot", "-c", self._config], check=True, timeout=60, stderr=subprocess.DEVNULL)
        self._started = True
        deadline = time.monotonic() + _START
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.plain), timeout=5) as connection:
                    if connection.recv(100).startswith(b"* OK"):
                        return
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the master and all that it started."""
        if self._started:
            subprocess.run(["doveadm", "-c", self._config, "stop"], check=True, timeout=60, capture_output=True)
            self._started = False

    def admin(self, *arguments: str, given: bytes = b"") -> str:
        """Run a command of ``doveadm``; what it says."""
        done = subprocess.run(
            ["doveadm", "-c", self._config, *arguments], check=False, timeout=120, capture_output=True, input=given
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def save(self, user: str, mailbox: str, message: bytes) -> None:
        """Deliver one message."""
        self.admin("save", "-u", user, "-m", mailbox, given=message)

    def fill(self, user: str, mailbox: str, messages: Iterable[bytes]) -> None:
        """Put messages into a mailbox's Maildir as they are, line ends as on the wire: many at once."""
        root = self.folder / "mail" / user
        folder = root if mailbox == "INBOX" else root / f".{mailbox.replace('/', '.')}"
        for name in ("cur", "new", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for number, message in enumerate(messages):
            name = f"{1_700_000_000 + number}.M{number}P1.test,S={len(message)}:2,"
            (folder / "cur" / name).write_bytes(message)
        subprocess.run(["chown", "-R", "nobody", str(root)], check=True, timeout=120)

    def _pop3_login(self) -> str:
        return (
            f"service pop3-login {{\n  inet_listener pop3 {{\n    port = {self.pop3}\n  }}\n"
            f"  inet_listener pop3s {{\n    port = {self.pop3s}\n    ssl = yes\n  }}\n}}"
        )

    def _oauth(self, tokens: str) -> str:
        settings = self.folder / "oauth2.conf.ext"
        settings.write_text(
            f"introspection_mode = post\nintrospection_url = {tokens}\nusername_attribute = username\n"
            "active_attribute = active\nactive_value = true\nforce_introspection = yes\n"
        )
        return f"passdb {{\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = {settings}\n}}"


@contextmanager
def running(**settings: str) -> Iterator[Dovecot]:
    """A Dovecot that runs, on a folder of its own; skips the test where there is none."""
    if why := why_not():
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="mailkeep-dovecot-") as folder:
        server = Dovecot(Path(folder), **settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()
