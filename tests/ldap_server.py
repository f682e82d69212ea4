"""Debian's slapd on loopback ports, with a configuration, a certificate authority and people of its own.

    with ldap_server(tmp_path, AD, [ad_user("anna", mail="anna@corp.example")]) as server:
        directory = open_directory(server.options)
        server.modify("dn: CN=anna,OU=…\\nchangetype: modify\\n…")
        server.kill()       # it dies, in the middle of whatever it does
        server.restart()    # and is there again, on the same ports

``AD`` has Active Directory's attributes with its object identifiers; ``OPENLDAP`` is what a Linux shop has. What slapd
cannot do (LDAP_MATCHING_RULE_IN_CHAIN) a proxy that reads the requests does in front of it: ``InChain``.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import ipaddress
import os
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
import sansldap
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance.directory.ldap_entries import Comparable, comparable
from tests.ports import free_port

SERVICE_PASSWORD = "service-password-4Kd"
SLAPD = shutil.which("slapd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
START_SECONDS = 20.0
_SCHEMAS = Path("/etc/ldap/schema")
needs_slapd = pytest.mark.skipif(
    SLAPD is None or shutil.which("ldapmodify") is None or not _SCHEMAS.is_dir(),
    reason="Debian's slapd or ldap-utils is not installed",
)

_AD_SCHEMA = """
attributetype ( 1.2.840.113556.1.4.2 NAME 'objectGUID' EQUALITY octetStringMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.8 NAME 'userAccountControl' EQUALITY integerMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.302 NAME 'sAMAccountType' EQUALITY integerMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.656 NAME 'userPrincipalName' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.2.210 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch
  SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.2.840.113556.1.2.102 NAME 'memberOf' EQUALITY distinguishedNameMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 )
attributetype ( 1.2.840.113556.1.4.50811 NAME 'msExchRecipientTypeDetails' EQUALITY integerMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.1.610 NAME 'nsAccountLock' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.1.13 NAME 'mailAlternateAddress' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectclass ( 1.2.840.113556.1.5.9 NAME 'user' SUP inetOrgPerson STRUCTURAL
  MUST ( objectGUID $ sAMAccountType )
  MAY ( userAccountControl $ userPrincipalName $ proxyAddresses $ memberOf $ msExchRecipientTypeDetails ) )
objectclass ( 1.2.840.113556.1.5.8 NAME 'group' SUP top STRUCTURAL MUST cn MAY ( member $ memberOf ) )
objectclass ( 2.16.840.1.113730.3.2.304 NAME 'mailUser' SUP top AUXILIARY MAY ( mailAlternateAddress $ nsAccountLock ) )
"""


class Place(msgspec.Struct, frozen=True):
    """A tree: its root, and who may read all of it."""

    suffix: str
    service: str
    """The DN of the service account; its password is ``SERVICE_PASSWORD``."""


AD = Place("DC=corp,DC=example", "CN=mailkeep,OU=Services,DC=corp,DC=example")
OPENLDAP = Place("dc=example,dc=org", "cn=mailkeep,ou=services,dc=example,dc=org")

Entry = tuple[str, Mapping[str, str | bytes | Sequence[str]]]
"""A DN and its attributes."""


def ad_user(
    name: str,
    *,
    guid: uuid.UUID | None = None,
    unit: str = "OU=Staff",
    password: str = "",
    **more: str | bytes | Sequence[str],
) -> Entry:
    """A user account as Active Directory has one; ``more`` are attributes (or others' values)."""
    guid = guid or uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.corp.example")
    attributes: dict[str, str | bytes | Sequence[str]] = {
        "objectClass": "user",
        "cn": name,
        "sn": name,
        "sAMAccountType": "805306368",
        "userAccountControl": "512",
        "objectGUID": guid.bytes_le,
    }
    if password:
        attributes["userPassword"] = password
    return f"CN={name},{unit},{AD.suffix}", attributes | more


def person(uid: str, *, mail: str | Sequence[str] = (), password: str = "", **more: str | Sequence[str]) -> Entry:
    """A person as OpenLDAP's inetOrgPerson has one."""
    attributes: dict[str, str | bytes | Sequence[str]] = {
        "objectClass": ["inetOrgPerson", "mailUser"],
        "uid": uid,
        "cn": uid.title(),
        "sn": uid.title(),
        "mail": mail,
    }
    if password:
        attributes["userPassword"] = password
    return f"uid={uid},ou=people,{OPENLDAP.suffix}", attributes | more


class Authority:
    """A certificate authority, made for one test."""

    def __init__(self, name: str = "Corp Test Authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.pem = self._signed(self._name, self._key, (), 3650, authority=True).public_bytes(
            serialization.Encoding.PEM
        ).decode()  # fmt: skip

    def issue(self, folder: Path, names: Sequence[str], days: int = 30) -> tuple[Path, Path]:
        """A server's certificate for those names and addresses, and its key, as files. Expired where ``days`` < 0."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        certificate = self._signed(name, key, names, days)
        certificate_file, key_file = folder / "server.pem", folder / "server.key"
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate_file, key_file

    def _signed(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, names: Sequence[str], days: int, authority: bool = False
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=90))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(one) for one in names]), False)
        return builder.sign(self._key, hashes.SHA256())


class LdapServer:
    """slapd with one tree. Its certificate is for localhost and 127.0.0.1 unless ``certificate`` changes that."""

    def __init__(self, folder: Path, place: Place, entries: Sequence[Entry], settings: str = "") -> None:
        """``settings`` are lines for the database's section of slapd.conf (slapd.conf(5))."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.place = folder, place
        self.port, self.tls_port = free_port(), free_port()
        self.ca = Authority()
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "ad.schema").write_text(_AD_SCHEMA)
        (folder / "data").mkdir()
        self._configure(settings, self.ca.issue(folder, ["localhost", "127.0.0.1"]))
        self._load([*_frame(place), *entries])

    @property
    def url(self) -> str:
        """Where StartTLS is offered."""
        return f"ldap://localhost:{self.port}"

    @property
    def tls_url(self) -> str:
        """Where TLS comes first."""
        return f"ldaps://localhost:{self.tls_port}"

    @property
    def options(self) -> dict[str, str]:
        """What a directory needs to use the tree over StartTLS."""
        return {
            "url": self.url,
            "preset": "ad" if self.place is AD else "openldap",
            "base": self.place.suffix,
            "bind_dn": self.place.service,
            "bind_password": SERVICE_PASSWORD,
            "ca": self.ca.pem,
        }

    @property
    def log(self) -> str:
        """What it has noted of its connections and operations."""
        return (self.folder / "log").read_text()

    def certificate(self, names: Sequence[str], days: int = 30, ca: Authority | None = None) -> None:
        """From now on it shows another certificate."""
        (ca or self.ca).issue(self.folder, names, days)
        self.restart()

    def modify(self, ldif: str) -> None:
        """Change entries, as ldapmodify(1) reads it."""
        command = ["ldapmodify", "-x", "-H", f"ldap://127.0.0.1:{self.port}", "-e", "!relax"]
        command += ["-D", f"cn=root,{self.place.suffix}", "-w", SERVICE_PASSWORD]
        done = subprocess.run(command, input=ldif.encode(), capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr.decode()

    def kill(self) -> None:
        """It dies at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def restart(self, *, tls: bool = True) -> None:
        """It is there again, where it was; without TLS it only has the plain port."""
        self.kill()
        assert SLAPD is not None
        command = [SLAPD, "-f", str(self.folder / "slapd.conf"), "-d", "stats"]
        encrypted = f" ldaps://127.0.0.1:{self.tls_port}" if tls else ""
        command += ["-h", f"ldap://127.0.0.1:{self.port}{encrypted}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise AssertionError(f"slapd did not start:\n{self.log[-3000:]}")

    def _configure(self, settings: str, files: tuple[Path, Path]) -> None:
        schemas = [_SCHEMAS / f"{one}.schema" for one in ("core", "cosine", "inetorgperson", "nis")]
        included = "\n".join(f"include {one}" for one in [*schemas, self.folder / "ad.schema"])
        (self.folder / "slapd.conf").write_text(
            f"{included}\n"
            f"modulepath /usr/lib/ldap\nmoduleload back_mdb.so\nmoduleload ppolicy.so\n"
            # As Active Directory does: who gives no password is let in as nobody, with success.
            f"allow bind_anon_dn\npidfile {self.folder}/pid\n"
            f"TLSCertificateFile {files[0]}\nTLSCertificateKeyFile {files[1]}\n"
            f"database mdb\nsuffix {self.place.suffix}\ndirectory {self.folder}/data\nmaxsize 268435456\ndbnosync\n"
            f"rootdn cn=root,{self.place.suffix}\nrootpw {SERVICE_PASSWORD}\n"
            "index objectClass,uid,sAMAccountType,objectGUID,entryUUID eq\noverlay ppolicy\n"
            "access to attrs=userPassword by anonymous auth by * none\n"
            f"access to * by dn.exact={self.place.service} read by self read by * none\n"
            f"{settings}\n"
        )

    def _load(self, entries: Sequence[Entry]) -> None:
        assert SLAPD is not None
        command = [SLAPD, "-T", "add", "-q", "-f", str(self.folder / "slapd.conf")]
        done = subprocess.run(command, input=ldif(entries), capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr.decode()


@contextlib.contextmanager
def ldap_server(folder: Path, place: Place, entries: Sequence[Entry], settings: str = "") -> Iterator[LdapServer]:
    """A server with these entries beside the tree's frame; it ends with the block."""
    server = LdapServer(folder / "slapd", place, entries, settings)
    server.restart()
    try:
        yield server
    finally:
        server.kill()


class InChain:
    """In front of a plain slapd with Active Directory's tree: answers LDAP_MATCHING_RULE_IN_CHAIN on memberOf, as a
    domain controller does, and takes no search that is not by pages."""

    def __init__(self, server: LdapServer, entries: Sequence[Entry]) -> None:
        self._to = server.port
        self._written = {comparable(dn): dn for dn, _attributes in entries}
        self._above = {comparable(dn): _texts(attributes.get("memberOf", ())) for dn, attributes in entries}
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"ldap://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """End."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
                threading.Thread(target=_copy, args=(server, client), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        session = sansldap.LDAPServer()
        with client, server, contextlib.suppress(OSError, sansldap.LDAPError):
            while data := client.recv(65536):
                for message in session.receive(data):
                    if isinstance(message, sansldap.SearchRequest):
                        paged = any(isinstance(one, sansldap.PagedResultControl) for one in message.controls)
                        assert paged or message.scope == sansldap.SearchScope.BASE
                        message = dataclasses.replace(message, filter=self._known(message.filter))
                    server.sendall(message.pack(session._packing_options))

    def _known(self, asked: sansldap.LDAPFilter) -> sansldap.LDAPFilter:
        if isinstance(asked, sansldap.FilterAnd | sansldap.FilterOr):
            return type(asked)([self._known(one) for one in asked.filters])
        if isinstance(asked, sansldap.FilterExtensibleMatch) and asked.rule == "1.2.840.113556.1.4.1941":
            assert asked.attribute == "memberOf" and not asked.dn_attributes
            groups = self._below(comparable(asked.value.decode()))
            return sansldap.FilterOr([sansldap.FilterEquality("memberOf", one.encode()) for one in sorted(groups)])
        return asked

    def _below(self, group: Comparable) -> set[str]:
        found, before = {group}, set[Comparable]()
        while found != before:
            before = set(found)
            found |= {dn for dn, above in self._above.items() if not found.isdisjoint(map(comparable, above))}
        return {self._written[one] for one in found if one in self._written}


def ldif(entries: Sequence[Entry]) -> bytes:
    """The entries as RFC 2849 writes them, every value in base64."""
    lines = []
    for dn, attributes in entries:
        lines.append(_line("dn", dn))
        for name, given in attributes.items():
            values = [given] if isinstance(given, str | bytes) else given
            lines.extend(_line(name, value) for value in values)
        lines.append(b"")
    return b"\n".join([*lines, b""])


def _line(name: str, value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return name.encode() + b":: " + base64.b64encode(raw)


def _frame(place: Place) -> list[Entry]:
    name = place.suffix.split(",")[0].partition("=")[2]
    units = ["Services", "Staff", "Groups"] if place is AD else ["services", "people", "groups"]
    return [
        (place.suffix, {"objectClass": ["domain"], "dc": name}),
        *((f"ou={one},{place.suffix}", {"objectClass": "organizationalUnit", "ou": one}) for one in units),
        (
            place.service,
            {
                "objectClass": ["organizationalRole", "simpleSecurityObject"],
                "cn": "mailkeep",
                "userPassword": SERVICE_PASSWORD,
            },
        ),
    ]


def _texts(given: str | bytes | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else [str(one) for one in given]


def _copy(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            to.sendall(data)
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_RDWR)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
