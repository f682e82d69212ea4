"""The errors a person may meet: one base class, a stable code each, a sentence that says what to do next."""

from __future__ import annotations


class MailkeepError(Exception):
    """Base of every error that mailkeep shows to a person.

    ``code`` is stable (scripts and the API use it); the text says what happened, what is safe and what to do
    next, and never holds a secret or a piece of mail.

    With ``fields`` the text has a named place for each: so whoever is told in another language finds the sentence
    (``language.later``).
    """

    code = "error"

    def __init__(self, text: str, /, **fields: object) -> None:
        self.text = text
        self.fields = {name: str(value) for name, value in fields.items()}
        self.message = text.format(**self.fields) if fields else text
        super().__init__(self.message)


class UsageError(MailkeepError):
    """What was asked for makes no sense as it was asked."""

    code = "usage"


class NotFoundError(MailkeepError):
    """There is no such thing, or the caller may not know that there is."""

    code = "not-found"


class ForbiddenError(MailkeepError):
    """The caller is known, but may not do this."""

    code = "forbidden"


class SignInError(MailkeepError):
    """Wrong address, password or code, or too many tries."""

    code = "sign-in"


class TooManyTriesError(MailkeepError):
    """Too many wrong passwords or tokens from one place; later tries may be right."""

    code = "too-many-tries"


class ConflictError(MailkeepError):
    """It clashes with something that exists already."""

    code = "conflict"


class LockedError(MailkeepError):
    """The archive's key is not at hand: mail is received, but nothing can be read until it is unlocked."""

    code = "locked"


class SealedError(MailkeepError):
    """The mail is in a sealed mailbox: only that mailbox's own password opens it, and the archive does not have it."""

    code = "sealed"


class QueryError(MailkeepError):
    """A search that cannot be understood; ``position`` is the 0-based character where it goes wrong."""

    code = "query"

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


class StorageError(MailkeepError):
    """The disk did not take what was written; whoever waits for a confirmation does not get one."""

    code = "storage"


class DiskFullError(StorageError):
    """There is no room for more mail (SMTP 452)."""

    code = "disk-full"


class DamageError(MailkeepError):
    """Stored bytes are not what was written: a broken record, a wrong key, a forged volume."""

    code = "damage"


class KeyringError(MailkeepError):
    """A passphrase, recovery key or keyfile does not open the keyring, or the keyring itself is damaged."""

    code = "keyring"


class UnavailableError(MailkeepError):
    """A part of the product does not answer just now; trying again later is right."""

    code = "unavailable"


class ThrottledError(UnavailableError):
    """The other side asks for patience: nothing is asked of it for ``seconds``."""

    code = "throttled"

    def __init__(self, text: str, seconds: float, **fields: object) -> None:
        super().__init__(text, **fields)
        self.seconds = seconds


class RemoteDeniedError(MailkeepError):
    """A remote does not accept the credentials, or does not allow what was asked of it."""

    code = "remote-denied"


class RemoteFullError(MailkeepError):
    """A remote has no room left, or its quota is used up."""

    code = "remote-full"
