"""The tables of settings.db: what applying the system log has led to.

Names, people's addresses and secrets are encrypted columns; readable are only mailbox addresses and host names,
which the gateway needs while the archive is locked.
"""

from __future__ import annotations

from sqlalchemy import Boolean, ForeignKey, Index, Integer, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from appliance.settings.columns import EncryptedText


class Base(DeclarativeBase):
    """All tables of settings.db."""


class Position(Base):
    """One row: how far the log has been applied, and the hash that the next entry must name."""

    __tablename__ = "position"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    number: Mapped[int] = mapped_column(Integer)
    head: Mapped[bytes] = mapped_column(LargeBinary)
    volume: Mapped[str] = mapped_column(String)  # of the last applied entry, relative to volumes/
    offset: Mapped[int] = mapped_column(Integer)
    directory: Mapped[int] = mapped_column(Integer)  # number of the last entry that changed users or mailboxes


class User(Base):
    """A person or a shared mailbox; its id is also the id of its archive."""

    __tablename__ = "user"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    name: Mapped[str] = mapped_column(EncryptedText)
    state: Mapped[str] = mapped_column(String)
    origin: Mapped[str] = mapped_column(String)
    created_at: Mapped[int] = mapped_column(Integer)
    password: Mapped[str | None] = mapped_column(EncryptedText)
    totp: Mapped[str | None] = mapped_column(EncryptedText)


class Address(Base):
    """That a user holds an address from ``since`` up to, not including, ``until`` (microseconds, NULL is open)."""

    __tablename__ = "address"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id"), index=True)
    lookup: Mapped[bytes] = mapped_column(LargeBinary, index=True)
    address: Mapped[str] = mapped_column(EncryptedText)
    rank: Mapped[int] = mapped_column(Integer)  # 0 is the primary address
    since: Mapped[int] = mapped_column(Integer)
    until: Mapped[int | None] = mapped_column(Integer)
    number: Mapped[int] = mapped_column(Integer, index=True)  # entry that last touched this row


class Grant(Base):
    """A role in force."""

    __tablename__ = "grant"
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id"), primary_key=True)
    role: Mapped[str] = mapped_column(String, primary_key=True)
    reason: Mapped[str] = mapped_column(EncryptedText)
    granted_by: Mapped[str] = mapped_column(String)
    at: Mapped[int] = mapped_column(Integer)


class GrantRequest(Base):
    """A wish that waits for a second auditor."""

    __tablename__ = "grant_request"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id"))
    role: Mapped[str] = mapped_column(String)
    reason: Mapped[str] = mapped_column(EncryptedText)
    asked_by: Mapped[str] = mapped_column(String)
    at: Mapped[int] = mapped_column(Integer)


class Access(Base):
    """That a user may read another's archive."""

    __tablename__ = "access"
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id"), primary_key=True)
    archive: Mapped[str] = mapped_column(ForeignKey("user.id"), primary_key=True, index=True)  # of this user
    reason: Mapped[str] = mapped_column(EncryptedText)
    opened_by: Mapped[str] = mapped_column(String)
    at: Mapped[int] = mapped_column(Integer)  # microseconds


class Invitation(Base):
    """A one-time code that has not been used."""

    __tablename__ = "invitation"
    code_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id"), index=True)
    expires: Mapped[int] = mapped_column(Integer)


class Mailbox(Base):
    """A door for mail. ``deleted_at`` (microseconds) is set once it is deleted."""

    __tablename__ = "mailbox"
    id: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    name: Mapped[str] = mapped_column(EncryptedText)
    address: Mapped[str] = mapped_column(String, index=True)
    state: Mapped[str] = mapped_column(String)
    unknown: Mapped[str] = mapped_column(String)
    networks: Mapped[str] = mapped_column(String)  # JSON list
    tls_required: Mapped[bool] = mapped_column(Boolean)
    domains: Mapped[str] = mapped_column(EncryptedText)  # JSON list
    description: Mapped[str | None] = mapped_column(EncryptedText)
    aliases: Mapped[str] = mapped_column(String)  # JSON list
    catch_all: Mapped[str] = mapped_column(String)  # JSON list of domains
    sealed: Mapped[bool] = mapped_column(Boolean)
    delete_after_pull: Mapped[bool] = mapped_column(Boolean)
    retention_days: Mapped[int] = mapped_column(Integer)  # 0 is for ever
    created_at: Mapped[int] = mapped_column(Integer)
    deleted_at: Mapped[int | None] = mapped_column(Integer)


class Door(Base):
    """An address that leads or led to a mailbox; ``*@domain`` stands for all of a domain that nobody else has.

    ``until`` (microseconds) is set once the mailbox has it no more.
    """

    __tablename__ = "door"
    address: Mapped[str] = mapped_column(String, primary_key=True)
    mailbox: Mapped[bytes] = mapped_column(ForeignKey("mailbox.id"), primary_key=True)
    until: Mapped[int | None] = mapped_column(Integer)


class Erased(Base):
    """A record of a sealed mailbox that counts as gone, whether its ciphertext is there still or not."""

    __tablename__ = "erased"
    record: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    mailbox: Mapped[bytes] = mapped_column(LargeBinary)
    number: Mapped[int] = mapped_column(Integer, index=True)  # entry that erased it


class Timestamping(Base):
    """One row: where the chain's heads are sent for a timestamp; empty for nowhere."""

    __tablename__ = "timestamping"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    url: Mapped[str] = mapped_column(EncryptedText)


class Certificate(Base):
    """One row: where the certificate comes from."""

    __tablename__ = "certificate"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    put: Mapped[str] = mapped_column(EncryptedText)  # events.CertificateSet as JSON, the account's key among it


class Remote(Base):
    """A remote that the archive is replicated to."""

    __tablename__ = "remote"
    name: Mapped[str] = mapped_column(String, primary_key=True)
    put: Mapped[str] = mapped_column(EncryptedText)  # events.RemotePut as JSON, secrets among it


class Replication(Base):
    """One row: what holds for all remotes."""

    __tablename__ = "replication"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    keep_local_days: Mapped[int] = mapped_column(Integer)
    rehearsal: Mapped[bool] = mapped_column(Boolean)


class Directory(Base):
    """A directory that users come from."""

    __tablename__ = "directory"
    name: Mapped[str] = mapped_column(String, primary_key=True)
    put: Mapped[str] = mapped_column(EncryptedText)  # events.DirectoryPut as JSON, secrets among it
    synchronised_at: Mapped[int | None] = mapped_column(Integer)  # microseconds
    result: Mapped[str | None] = mapped_column(EncryptedText)  # events.DirectorySynchronised as JSON


class Link(Base):
    """An entry of a directory that is a user here."""

    __tablename__ = "link"
    directory: Mapped[str] = mapped_column(String, primary_key=True)
    lookup: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)  # of the entry's id
    user_id: Mapped[str] = mapped_column(String, index=True)
    put: Mapped[str] = mapped_column(EncryptedText)  # events.Link as JSON


class Profile(Base):
    """An archiving profile, by which mail is fetched."""

    __tablename__ = "profile"
    name: Mapped[str] = mapped_column(String, primary_key=True)
    put: Mapped[str] = mapped_column(EncryptedText)  # events.ProfilePut as JSON, secrets among it


class Gateway(Base):
    """One row: host name and limits of the gateway."""

    __tablename__ = "gateway"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    hostname: Mapped[str] = mapped_column(String)
    size_limit: Mapped[int] = mapped_column(Integer)


class Watch(Base):
    """When a mailbox that gets no mail raises an alarm; the row of the empty mailbox is for those without their own."""

    __tablename__ = "watch"
    mailbox: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    rule: Mapped[str] = mapped_column(String)  # events.WatchSet as JSON


class Notifying(Base):
    """One row: how alarms are told."""

    __tablename__ = "notifying"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[int] = mapped_column(Integer)  # microseconds
    put: Mapped[str] = mapped_column(EncryptedText)  # events.NotifyingSet as JSON, secrets among it


class MetricsToken(Base):
    """One row: with what metrics are read; in the clear, so that a locked archive can compare it."""

    __tablename__ = "metrics_token"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary)


class ImportFolder(Base):
    """One row: the folder of the box whose files are imported by themselves."""

    __tablename__ = "import_folder"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    path: Mapped[str] = mapped_column(EncryptedText)


class Hold(Base):
    """A legal hold in force."""

    __tablename__ = "hold"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    reason: Mapped[str] = mapped_column(EncryptedText)
    archive: Mapped[str] = mapped_column(String)
    since: Mapped[int] = mapped_column(Integer)
    until: Mapped[int] = mapped_column(Integer)


class AuditRow(Base):
    """One entry of the system log as an auditor reads it."""

    __tablename__ = "audit"
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[int] = mapped_column(Integer)
    by: Mapped[str] = mapped_column(String)
    action: Mapped[str] = mapped_column(String)
    what: Mapped[str] = mapped_column(EncryptedText)
    reason: Mapped[str] = mapped_column(EncryptedText)
    client: Mapped[str] = mapped_column(EncryptedText)


class Session(Base):
    """A signed-in browser. Not in the log: a restored box has nobody signed in."""

    __tablename__ = "session"
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[str] = mapped_column(String, index=True)
    created_at: Mapped[int] = mapped_column(Integer)
    expires_at: Mapped[int] = mapped_column(Integer)


Index("address_open", Address.lookup, Address.until)
