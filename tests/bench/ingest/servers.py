"""The servers under load, each a private instance on a scratch folder and a loopback port."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path

from appliance.keys.certificate import ensure_certificate
from appliance.keys.envelope import MailboxKeyPair
from appliance.mail.published import GatewayMailbox, GatewaySettings, encode, settings_path
from tests.ports import free_port
from tests.product import Product

DOMAIN = "bench.example"
RECIPIENT = f"box@{DOMAIN}"
NUMBERED = 200_000
"""smtp-source -N puts a number from a counter before the recipient; this many such addresses are known."""
_START = 30.0  # seconds that a server may take to answer
_ROOT = Path(__file__).resolve().parents[3]


class Server(ABC):
    """One server. ``mailboxes`` is how many mailboxes the numbered recipients are spread over."""

    name: str
    lmtp = False

    def __init__(self, folder: Path, mailboxes: int) -> None:
        self.folder = folder
        self.mailboxes = mailboxes
        self.port = free_port()
        folder.mkdir(parents=True)
        folder.chmod(0o755)

    @abstractmethod
    def start(self) -> None:
        """Serve on ``port``."""

    @abstractmethod
    def stop(self) -> None:
        """End; the folder may be removed afterwards."""

    def drain(self) -> None:  # noqa: B027 - most servers are done when they have answered
        """Return when no work of the last load is left, so that the next one has the machine to itself."""

    def wait_ready(self) -> None:
        """Return when the port answers with a greeting."""
        deadline = time.monotonic() + _START
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection,
            ):
                if connection.recv(100).startswith(b"220"):
                    return
            time.sleep(0.1)
        raise TimeoutError(f"{self.name} does not answer on port {self.port}")


class Mailkeep(Server):
    """Our gateway as shipped: a worker a core, encrypted, synced; nothing reads the log meanwhile."""

    name = "mailkeep"

    def start(self) -> None:
        """Publish settings and start the workers."""
        data = self.folder / "data"
        settings_path(data).parent.mkdir(parents=True)
        ensure_certificate(data / "tls", "localhost")
        boxes = [
            GatewayMailbox(
                id=f"{number:032x}",
                addresses=tuple(self._addresses(number)),
                public_key=MailboxKeyPair.generate().public,
            )
            for number in range(self.mailboxes)
        ]
        settings = GatewaySettings(version=1, hostname="localhost", mailboxes=tuple(boxes))
        settings_path(data).write_bytes(encode(settings))
        self._processes = [
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "gateway", "--data", str(data), "--worker", str(worker)),
                    *("--smtp", f"127.0.0.1:{self.port}", "--log-level", "warning"),
                ],
                cwd=_ROOT,
            )
            for worker in range(os.cpu_count() or 1)
        ]
        self.wait_ready()
        time.sleep(1.0)  # the other workers

    def stop(self) -> None:
        """SIGTERM."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            process.wait(60)

    def _addresses(self, number: int) -> list[str]:
        plain = [RECIPIENT] if number == 0 else []
        if self.mailboxes == 1:
            return plain
        return plain + [f"{n}{RECIPIENT}" for n in range(NUMBERED) if n % self.mailboxes == number]


class MailkeepWhole(Server):
    """The whole product: while mail comes in it is read, assigned and indexed, at lower priority."""

    name = "mailkeep, projecting"

    def start(self) -> None:
        """``mailkeep serve`` on a new archive."""
        self._product = Product.create(self.folder / "data", mailbox=RECIPIENT)
        self._product.smtp = self.port
        self._product.start()

    def stop(self) -> None:
        """SIGTERM."""
        self._product.stop()

    def drain(self) -> None:
        """Wait until the last load's mail is searchable."""
        self._product.run("wait-idle", "--timeout", "600")


class Postfix(Server):
    """Postfix smtpd, queue synced as always; ``transport`` says what becomes of the queue."""

    transport = "virtual:"
    name = "Postfix → Maildir"

    def start(self) -> None:
        """Write a configuration and start the master."""
        self._config = self.folder / "etc"
        self._queue = self.folder / "queue"
        for folder in (self._config, self._queue, self.folder / "lib", self.folder / "mail"):
            folder.mkdir()
        shutil.chown(self.folder / "lib", "postfix")
        shutil.chown(self.folder / "mail", "nobody")
        nobody = pwd.getpwnam("nobody")
        (self._config / "main.cf").write_text(
            "\n".join(
                f"{name} = {value}"
                for name, value in {
                    "compatibility_level": "3.6",
                    "queue_directory": self._queue,
                    "data_directory": self.folder / "lib",
                    "command_directory": "/usr/sbin",
                    "daemon_directory": "/usr/lib/postfix/sbin",
                    "mail_owner": "postfix",
                    "setgid_group": "postdrop",
                    "myhostname": "localhost.bench.example",
                    "mydestination": "",
                    "inet_interfaces": "127.0.0.1",
                    "inet_protocols": "ipv4",
                    "mynetworks": "127.0.0.0/8",
                    "alias_maps": "",
                    "local_recipient_maps": "",
                    "virtual_mailbox_domains": DOMAIN,
                    "virtual_mailbox_base": self.folder / "mail",
                    "virtual_mailbox_maps": f"regexp:{self._config / 'boxes'}",
                    "virtual_uid_maps": f"static:{nobody.pw_uid}",
                    "virtual_gid_maps": f"static:{nobody.pw_gid}",
                    "virtual_minimum_uid": 1,
                    "virtual_transport": self.transport,
                    "virtual_mailbox_limit": 0,
                    "mailbox_size_limit": 0,
                    "message_size_limit": 0,
                    # Nothing here may wait for a DNS that does not answer.
                    "smtpd_peername_lookup": "no",
                    "disable_dns_lookups": "yes",
                    "smtpd_client_connection_count_limit": 0,
                    "smtpd_client_connection_rate_limit": 0,
                    "smtpd_error_sleep_time": 0,
                    "in_flow_delay": 0,
                    "maillog_file": self.folder / "log",
                    "maillog_file_prefixes": self.folder,
                }.items()
            )
            + "\n"
        )
        (self._config / "boxes").write_text(self._boxes())
        (self._config / "master.cf").write_text(_MASTER.format(port=self.port))
        self._run("start")
        self.wait_ready()

    def stop(self) -> None:
        """Stop the master and all that it started."""
        self._run("stop")

    def drain(self) -> None:
        """Until the queue is empty."""
        deadline = time.monotonic() + 300
        waiting = ("incoming", "active", "maildrop", "deferred")
        while any(path.is_file() for name in waiting for path in (self._queue / name).rglob("*")):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} does not deliver its queue, see {self.folder / 'log'}")
            time.sleep(0.2)

    def _boxes(self) -> str:
        if self.mailboxes == 1:
            return "/@/ box/\n"
        if self.mailboxes != 50:
            raise ValueError("Postfix is set up for 1 mailbox or 50")
        # The number's last two digits modulo 50, to the same effect as in Mailkeep.
        lines = [f"/^[0-9]*[{tens}{tens + 5}]([0-9])box@/ box{tens}$1/" for tens in range(5)]
        return "\n".join([*lines, "/^([0-9])box@/ box0$1/", "/^box@/ box00/"]) + "\n"

    def _run(self, verb: str) -> None:
        subprocess.run(["postfix", "-c", self._config, verb], check=True, timeout=60, stderr=subprocess.DEVNULL)


class PostfixQueue(Postfix):
    """The same without delivery: accepted and synced into the queue, then discarded."""

    transport = "discard:"
    name = "Postfix → queue"


class Dovecot(Server):
    """Dovecot LMTP into a Maildir with mail_fsync=always."""

    name = "Dovecot LMTP → Maildir"
    lmtp = True

    def start(self) -> None:
        """Write a configuration and start the master."""
        mail = self.folder / "mail"
        mail.mkdir()
        shutil.chown(mail, "nobody")
        nobody = pwd.getpwnam("nobody")
        self._config = self.folder / "dovecot.conf"
        self._config.write_text(
            f"""
base_dir = {self.folder}/run
state_dir = {self.folder}/state
log_path = {self.folder}/log
protocols = lmtp
ssl = no
listen = 127.0.0.1
first_valid_uid = 1
mail_location = maildir:{mail}/{"%n" if self.mailboxes > 1 else "box"}
mail_fsync = always
default_client_limit = 200
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={nobody.pw_uid} gid={nobody.pw_gid} home={mail} allow_all_users=yes
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {self.port}
  }}
}}
"""
        )
        # The master inherits what it is given: a pipe would never end.
        subprocess.run(["dovecot", "-c", self._config], check=True, timeout=60, stderr=subprocess.DEVNULL)
        self.wait_ready()

    def stop(self) -> None:
        """Stop the master and all that it started."""
        subprocess.run(["doveadm", "-c", self._config, "stop"], check=True, timeout=60, capture_output=True)
        time.sleep(0.5)


_MASTER = """\
127.0.0.1:{port} inet n - n - 100 smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
