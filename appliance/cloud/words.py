"""What went wrong at a remote, as an administrator can use it: rclone's words sorted into our errors.

rclone passes on what the services say, each in its own way. The patterns are the services' documented codes and
rclone's own phrases; whatever is not among them is taken as trouble that passes.

Sources: Amazon S3 "Error responses", Azure Blob "Common error codes", Google Drive "Resolve errors" and Cloud Storage
"HTTP status and error codes", Microsoft Graph "Error codes for OneDrive", Dropbox and Box API errors, Backblaze B2
"Error handling", RFC 4918 section 11.5 (507), draft-ietf-secsh-filexfer-13 section 9.1 (SFTP).
"""

from __future__ import annotations

import re
from typing import Final

from appliance.cloud.remote import RemoteConfig
from appliance.errors import (
    ForbiddenError,
    MailkeepError,
    NotFoundError,
    RemoteDeniedError,
    RemoteFullError,
    UnavailableError,
)
from appliance.language import later

LONGEST_DETAIL: Final = 300
"""Characters of rclone's own words at the end of a sentence."""

# In the order in which they are looked for: a rate limit is called a quota by some, and a full disk a denial by others.
_KINDS: Final[tuple[tuple[str, type[MailkeepError], str], ...]] = (
    (
        r"rate ?limit|slow ?down|too many requests|\b429\b|throttl|activitylimitreached|uploadlimitexceeded"
        r"|dailylimitexceeded|quota exceeded for quota metric|too_many_write_operations|serverbusy",
        UnavailableError,
        later(
            "The remote “{name}” takes no more for the moment: it limits how much may be sent in a while. Everything "
            "is safe on this box; it is tried again by itself. ({detail})"
        ),
    ),
    (
        r"storagequotaexceeded|quota ?exceeded|quotalimitreached|insufficient_space|insufficient ?storage|\b507\b"
        r"|storage_limit_exceeded|cap_?exceeded|no space left|disk full|disk is full|not enough (free )?space"
        r"|no_space_on_filesystem|quota has been|over quota|storage limit|disc quota|disk quota|status_disk_full"
        r"|teamdrivefilelimitexceeded|accountproblem|overdraft|remaining disk space",
        RemoteFullError,
        later(
            "The remote “{name}” has no room left, or its quota is used up. Make room there or buy more; everything is "
            "safe on this box, and replication goes on from where it was. ({detail})"
        ),
    ),
    (
        r"requesttimetooskewed|too skewed|request has expired|clock skew",
        RemoteDeniedError,
        later(
            "The remote “{name}” refuses requests because its clock and this box's differ. Set this box's clock "
            "right (NTP). Everything is safe on this box, but nothing goes to this remote until that is put right. "
            "({detail})"
        ),
    ),
    (
        r"x509:|certificate|tls: |server gave http response to https client",
        RemoteDeniedError,
        later(
            "The remote “{name}” cannot be trusted: its TLS certificate does not fit. Check the address, and on both "
            "sides the date. Everything is safe on this box, but nothing goes to this remote until that is put "
            "right. ({detail})"
        ),
    ),
    (
        r"knownhosts: key|host key|pinned host",
        RemoteDeniedError,
        later(
            "The remote “{name}” shows another SSH host key than before. Somebody may be in between, or the server "
            "was set up anew; if it was, remove “host_keys” from the remote's settings. Everything is safe on this "
            "box, but nothing goes to this remote until that is put right. ({detail})"
        ),
    ),
    (
        r"nosuchbucket|bucket does not exist|containernotfound|container not found|bucket not found",
        NotFoundError,
        later(
            "The remote “{name}” has no such bucket, and it could not be made. Check its name and region, or create "
            "it there. ({detail})"
        ),
    ),
    (
        r"invalid_grant|token expired|empty token|expired_access_token|invalid_access_token|token.*(invalid|revoked)"
        r"|couldn't fetch token|oauth2",
        RemoteDeniedError,
        later(
            "The remote “{name}” does not accept the sign-in any more. Run rclone authorize again and paste the new "
            "token. Everything is safe on this box, but nothing goes to this remote until that is put right. "
            "({detail})"
        ),
    ),
    (
        r"invalidaccesskeyid|signaturedoesnotmatch|authenticationfailed|unable to authenticate|\b401\b|unauthorized"
        r"|bad_auth_token|expired_auth_token|invalid_client|logon.?failure|login incorrect|invalid credentials"
        r"|nocredentialproviders|no ec2 imds role|failed to refresh cached credentials|bad username or password",
        RemoteDeniedError,
        later(
            "The remote “{name}” does not accept the credentials. Check user or key, and the password or secret as "
            "it is (not as rclone obscure prints it). Everything is safe on this box, but nothing goes to this "
            "remote until that is put right. ({detail})"
        ),
    ),
    (
        r"accessdenied|access denied|access_denied|permission denied|\b403\b|forbidden|authorizationfailure"
        r"|insufficient ?permission|not authorized|no_write_permission|operation not permitted|read-only file system",
        RemoteDeniedError,
        later(
            "The remote “{name}” does not allow this. Check the credentials, and that they may list, read, write and "
            "delete in that folder. Everything is safe on this box, but nothing goes to this remote until that is "
            "put right. ({detail})"
        ),
    ),
    (
        r"didn't find backend|failed to create file system|couldn't find|unable to get drive_id|unsupported protocol"
        r"|couldn't parse|is a file not a directory|invalid character|need .* to be set|not configured|missing .* in",
        RemoteDeniedError,
        later(
            "The remote “{name}” cannot be used with these settings. Everything is safe on this box, but nothing "
            "goes to this remote until that is put right. ({detail})"
        ),
    ),
    (
        r"no such host|server misbehaving|name resolution",
        UnavailableError,
        later(
            "The remote “{name}” has a name that cannot be found. Is it spelled right, and does this box have a name "
            "server? Everything is safe on this box; it is tried again by itself. ({detail})"
        ),
    ),
    (
        r"connection refused|no route to host|network is unreachable|i/o timeout|deadline exceeded|timed? ?out",
        UnavailableError,
        later(
            "The remote “{name}” does not answer. Everything is safe on this box; it is tried again by itself. "
            "({detail})"
        ),
    ),
    (
        r"\b50[0234]\b|service unavailable|bad gateway|gateway timeout|internal ?(server ?)?error|serviceunavailable",
        UnavailableError,
        later(
            "The remote “{name}” is busy, or has trouble of its own. Everything is safe on this box; it is tried "
            "again by itself. ({detail})"
        ),
    ),
    (
        r"connection reset|broken pipe|connection lost|unexpected eof|\beof\b|connection closed",
        UnavailableError,
        later(
            "The remote “{name}” broke the connection off. Everything is safe on this box; it is tried again by "
            "itself. ({detail})"
        ),
    ),
)

_LOCKED: Final = re.compile(
    r"object.?lock|retention|immutab|worm|legal.?hold|compliance|governance|object is (locked|protected)"
)
_NOISE: Final = re.compile(
    r"https response error |RequestID: [^,]*, |HostID: [^,]*, |operation error "
    r"|exceeded maximum number of attempts, \d+, "
    r"|error in ListJSON: |failed to find object: |StatusCode: 0, |request send failed, "
)


def explain(config: RemoteConfig, status: int, text: str) -> MailkeepError:
    """The error for what rclone said about a remote: its HTTP status and its words, which hold no secret any more."""
    said = text.lower()
    detail = _NOISE.sub("", " ".join(text.split()))
    if len(detail) > LONGEST_DETAIL:
        detail = detail[: LONGEST_DETAIL - 1] + "…"
    if status == 404 and "bucket" not in said:
        return NotFoundError(later("There is no such object on the remote “{name}”."), name=config.name)
    for pattern, kind, sentence in _KINDS:
        if re.search(pattern, said):
            return kind(sentence, name=config.name, detail=detail)
    return UnavailableError(
        later(
            "The remote “{name}” did not do what was asked. Everything is safe on this box; it is tried again by "
            "itself. ({detail})"
        ),
        name=config.name,
        detail=detail,
    )


def says_nothing(text: str) -> bool:
    """Whether the words are SFTP's error for everything: the version that is in use has none for a full disk
    (draft-ietf-secsh-filexfer-02, section 7)."""
    return "ssh_fx_failure" in text.lower()


def full(config: RemoteConfig) -> RemoteFullError:
    """The error where a remote did not say so, and has less room than is needed."""
    return RemoteFullError(
        later(
            "The remote “{name}” has no room left, or its quota is used up. Make room there or buy more; everything is "
            "safe on this box, and replication goes on from where it was."
        ),
        name=config.name,
    )


def explain_refused_deletion(config: RemoteConfig, status: int, text: str) -> MailkeepError:
    """As ``explain``, but what speaks of a lock is ForbiddenError: the object may go later."""
    if _LOCKED.search(text.lower()):
        return ForbiddenError(f"The remote “{config.name}” keeps this object locked; it can be deleted later.")
    return explain(config, status, text)
