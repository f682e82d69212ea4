"""The services that the assistant knows, and what it asks for each; what a remote's settings must hold.

Any other backend of rclone can be used with its own options (https://rclone.org/overview/). Among the fields ``path``
is the folder inside the remote (``RemoteConfig.path``); all others are rclone's options by rclone's names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from appliance import decoding
from appliance.cloud.remote import RemoteConfig
from appliance.errors import UsageError
from appliance.fields import Field


class Backend(msgspec.Struct, frozen=True):
    """A kind of remote. ``oauth`` says that its ``token`` is what ``rclone authorize`` prints."""

    type: str
    title: str
    help: str
    fields: tuple[Field, ...]
    oauth: bool = False


SHOWS_HALF_FILES: Final = frozenset({"webdav"})
"""Types where an upload that breaks off may leave a half file under its name, and rclone does not prevent it."""

_BUCKET = Field(
    "path", "Bucket and folder", "For example my-company-mail/archive. Nothing else may be kept in it.", required=True
)
_FOLDER = Field("path", "Folder", "For example Backup/mailkeep. Nothing else may be kept in it.", required=True)


def _token(kind: str) -> Field:
    return Field(
        "token",
        "Token",
        f'On any computer with a browser and rclone (https://rclone.org/downloads/) run:  rclone authorize "{kind}"  '
        "Sign in, allow access, and paste here the line in braces { … } that it prints.",
        secret=True,
        required=True,
        multiline=True,
    )


def _own_client(kind: str, where: str, *, required: str = "") -> tuple[Field, ...]:
    return (
        Field(
            "client_id",
            "Client id",
            f"Of an application of your own ({where}); {required or 'rclone’s own is used where this is empty'}. Then "
            f'the token comes from:  rclone authorize "{kind}" CLIENT_ID CLIENT_SECRET',
        ),
        Field("client_secret", "Client secret", secret=True),
    )


BACKENDS: Final[tuple[Backend, ...]] = (
    Backend(
        "s3",
        "Amazon S3 and compatible",
        "Amazon, MinIO, Wasabi, Hetzner, IONOS, Cloudflare R2, Ceph and whatever else speaks S3. For object lock the "
        "bucket has to be made with it. Give a bucket with object lock or versions a lifecycle rule that removes "
        "noncurrent versions, or deleted objects stay and cost for ever.",
        (
            Field(
                "provider",
                "Provider",
                "rclone adapts to what each does differently. “Other” suits most.",
                choices=(
                    *("AWS", "Ceph", "Cloudflare", "DigitalOcean", "Hetzner", "IDrive", "IONOS", "Minio", "OVHcloud"),
                    *("Scaleway", "SeaweedFS", "Storj", "Synology", "Wasabi", "Other"),
                ),
            ),
            Field("access_key_id", "Access key", required=True),
            Field("secret_access_key", "Secret key", secret=True, required=True),
            Field("endpoint", "Address", "https://s3.example.com; empty for Amazon."),
            Field("region", "Region", "For example eu-central-1; empty where the provider has none."),
            _BUCKET,
        ),
    ),
    Backend(
        "azureblob",
        "Azure Blob Storage",
        "Account and key, or a SAS URL with the rights to read, write, delete and list. Immutability is set on the "
        "container in Azure.",
        (
            Field("account", "Storage account"),
            Field("key", "Account key", secret=True),
            Field("sas_url", "SAS URL", "Instead of account and key.", secret=True),
            Field("path", "Container and folder", "For example mail-archive/box.", required=True),
        ),
    ),
    Backend(
        "google cloud storage",
        "Google Cloud Storage",
        "With a service account's key that has the role Storage Object Admin on the bucket, or a token. Retention is "
        "set on the bucket at Google.",
        (
            Field(
                "service_account_credentials",
                "Service account key",
                "The content of its JSON file.",
                secret=True,
                multiline=True,
            ),
            msgspec.structs.replace(_token("google cloud storage"), required=False),
            Field("project_number", "Project number", "Only to have the bucket made."),
            Field("bucket_policy_only", "Uniform access", choices=("true", "false")),
            _BUCKET,
        ),
        oauth=True,
    ),
    Backend(
        "drive",
        "Google Drive",
        "Google lets an account upload 750 GB a day. For a company a service account or a shared drive outlives the "
        "person who set it up.",
        (
            *_own_client(
                "drive",
                "https://rclone.org/drive/#making-your-own-client-id",
                required="needed from 2026 on, since Google retires the one that all share",
            ),
            msgspec.structs.replace(_token("drive"), required=False),
            Field(
                "service_account_credentials",
                "Service account key",
                "Instead of a token: the content of its JSON file.",
                secret=True,
                multiline=True,
            ),
            Field(
                "scope",
                "Access",
                "drive.file sees only what was made by the archive itself.",
                choices=("drive.file", "drive"),
            ),
            Field("team_drive", "Shared drive", "Its id, as in the address of its page; empty for My Drive."),
            _FOLDER,
        ),
        oauth=True,
    ),
    Backend(
        "onedrive",
        "OneDrive and SharePoint",
        "Besides the token a drive's id and type are needed. The simplest way to all three: on a computer with a "
        "browser run  rclone config , make a remote there, and copy them from what  rclone config show NAME  prints.",
        (
            *_own_client("onedrive", "https://rclone.org/onedrive/#getting-your-own-client-id-and-key"),
            _token("onedrive"),
            Field("drive_id", "Drive id", required=True),
            Field("drive_type", "Drive type", required=True, choices=("business", "personal", "documentLibrary")),
            Field("region", "Cloud", choices=("global", "us", "de", "cn")),
            _FOLDER,
        ),
        oauth=True,
    ),
    Backend(
        "box",
        "Box",
        "Box changes the token at each use: one token is for one archive only.",
        (*_own_client("box", "https://app.box.com/developers/console"), _token("box"), _FOLDER),
        oauth=True,
    ),
    Backend(
        "dropbox",
        "Dropbox",
        "For a team, the folder belongs to the person who signs in.",
        (
            *_own_client("dropbox", "https://rclone.org/dropbox/#get-your-own-dropbox-app-id"),
            _token("dropbox"),
            _FOLDER,
        ),
        oauth=True,
    ),
    Backend(
        "b2",
        "Backblaze B2",
        "For object lock use “Amazon S3 and compatible” with the S3 address of the bucket. Give the bucket a lifecycle "
        "rule that keeps only the last version.",
        (
            Field("account", "Key id", required=True),
            Field("key", "Application key", secret=True, required=True),
            _BUCKET,
        ),
    ),
    Backend(
        "sftp",
        "SFTP (SSH)",
        "Password or private key. The server's host key is remembered at the first connection, unless it is given "
        "here; another one is refused from then on.",
        (
            Field("host", "Server", required=True),
            Field("port", "Port", "22 where empty."),
            Field("user", "User", required=True),
            Field("pass", "Password", secret=True),
            Field("key_pem", "Private key", "In PEM form, without a passphrase.", secret=True, multiline=True),
            Field("host_keys", "Host key", "As in known_hosts, without the name: ssh-ed25519 AAAA…"),
            _FOLDER,
        ),
    ),
    Backend(
        "webdav",
        "WebDAV",
        "Nextcloud, ownCloud, SharePoint on premises and others.",
        (
            Field("url", "Address", "Nextcloud: https://cloud.example.com/remote.php/dav/files/USER", required=True),
            Field(
                "vendor",
                "Software",
                "Nextcloud and ownCloud tell checksums, others do not.",
                choices=(
                    "nextcloud",
                    "owncloud",
                    "infinitescale",
                    "sharepoint",
                    "sharepoint-ntlm",
                    "fastmail",
                    "other",
                ),
            ),
            Field("user", "User"),
            Field("pass", "Password", "For Nextcloud an app password.", secret=True),
            Field("bearer_token", "Bearer token", "Instead of user and password.", secret=True),
            _FOLDER,
        ),
    ),
    Backend(
        "smb",
        "Windows share (SMB)",
        "A NAS or Windows server, without mounting it.",
        (
            Field("host", "Server", required=True),
            Field("port", "Port", "445 where empty."),
            Field("user", "User"),
            Field("pass", "Password", secret=True),
            Field("domain", "Domain", "WORKGROUP where empty."),
            Field("path", "Share and folder", "For example backup/mailkeep.", required=True),
        ),
    ),
    Backend(
        "local",
        "Folder (mounted disk or NAS)",
        "A folder of this machine, best on another disk or mounted from another machine. Name a folder below the mount "
        "point and see in the status that the room is the disk's: while it is not mounted, this machine's own disk "
        "stands in its place.",
        (Field("path", "Folder", "Absolute: /mnt/nas/mailkeep", required=True),),
    ),
)

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_KEY = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")
_RATE = r"(?:off|\d+(?:\.\d+)?[bkmgtp]?i?)"
_RATES = rf"{_RATE}(?::{_RATE})?"
_SLOT = rf"(?:(?:mon|tue|wed|thu|fri|sat|sun)-)?(?:[01]\d|2[0-3]):[0-5]\d,{_RATES}"
_TIMETABLE = re.compile(rf"{_RATES}|{_SLOT}(?: {_SLOT})*", re.IGNORECASE)

_WRAPPERS = frozenset({"alias", "cache", "chunker", "combine", "compress", "crypt", "hasher", "union"})
_READ_ONLY = frozenset({"archive", "doi", "google photos", "http"})
_RUNS_PROGRAMS = frozenset({"bearer_token_command", "ssh"})
_ANY_OF: Final[Mapping[str, tuple[frozenset[str], str]]] = {
    "azureblob": (
        frozenset(
            {"key", "sas_url", "connection_string", "env_auth", "client_secret", "use_msi", "use_az", "use_emulator"}
        ),
        "an account key or a SAS URL",
    ),
    "drive": (
        frozenset({"token", "service_account_credentials", "service_account_file", "env_auth"}),
        "a token or a service account key",
    ),
    "google cloud storage": (
        frozenset({"token", "service_account_credentials", "service_account_file", "env_auth", "anonymous"}),
        "a service account key or a token",
    ),
    "sftp": (frozenset({"pass", "key_pem", "key_file", "key_use_agent"}), "a password or a private key"),
}
_LEARNT = frozenset({"host_keys"})
_SIGNS_IN = frozenset({"access_key_id", "client_id", "user", "provider", "region", "scope", "vendor"})
_SECRET = re.compile(
    r"pass(word|wd)?2?$|secret|token|credential|^sas_url$|connection_string|access_grant|mnemonic|cookies|authorization"
    r"|bearer|(^|_)keys?(_pem|_base64|_pass)?$"
)
_OPEN = re.compile(r"_(url|file|id|command|path|agent)$|^(host_keys?|public_key|pubkey)$")
_AZURE = re.compile(r"(?:sig|AccountKey|SharedAccessSignature)=([^&;]+)")
_SHORTEST_HIDDEN: Final = 4
"""Characters of a secret that is looked for in what rclone says; a shorter one would take ordinary words away."""


def backend(kind: str) -> Backend | None:
    """What the assistant knows of a type; None for rclone's other types."""
    return next((one for one in BACKENDS if one.type == kind), None)


def is_secret(key: str) -> bool:
    """Whether an option's value is shown to nobody."""
    return key == "sas_url" or bool(_SECRET.search(key) and not _OPEN.search(key))


def place_of(config: RemoteConfig) -> bytes:
    """A hash of where a remote's objects lie and of who asks for them: all but the secrets, which may be renewed."""
    options = sorted((key, value) for key, value in config.options.items() if value and _tells_place(key))
    return sha256(msgspec.msgpack.encode([config.type, _path(config), options])).digest()


def is_same_place(one: RemoteConfig, other: RemoteConfig) -> bool:
    """Whether two remotes may lie at one place. Who signs in does not count: two accounts may see the same folder."""
    return (one.type, _path(one), _address(one)) == (other.type, _path(other), _address(other))


def _path(config: RemoteConfig) -> str:
    path = str(PurePosixPath(config.path))
    return path if config.type == "local" else path.lstrip("/")


def _address(config: RemoteConfig) -> Mapping[str, str]:
    return {
        key: value.strip().rstrip("/").lower()
        for key, value in config.options.items()
        if value and _tells_place(key) and key not in _SIGNS_IN
    }


def _tells_place(key: str) -> bool:
    return key not in _LEARNT and not is_secret(key)


def secret_values(config: RemoteConfig) -> Sequence[str]:
    """All that must not appear in a log or an error: the secret options, and the texts in those that are JSON."""
    return [
        text
        for key, value in config.options.items()
        if is_secret(key)
        for text in (value, _in_one_line(key, value), *_texts(value))
        if len(text) >= _SHORTEST_HIDDEN
    ]


def rclone_options(config: RemoteConfig) -> Mapping[str, str]:
    """The options as rclone gets them: those that were given, and what suits a replica where nothing was said."""
    given = {key: _in_one_line(key, value) for key, value in config.options.items() if value}
    if config.type == "s3":
        given.setdefault("provider", "Other" if "endpoint" in given else "AWS")
        # Else each session tries to make the bucket, which a key with only the rights that are needed may not.
        given.setdefault("no_check_bucket", "true")
    # When an object came is worth more than when its file was written: it is what locks and checks count from.
    if config.type == "local":
        given.setdefault("no_set_modtime", "true")
    if config.type == "sftp":
        given.setdefault("set_modtime", "false")
    if config.type == "sftp" and not given.keys() & {"host_keys", "known_hosts_file"}:
        given.setdefault("pin_host_key", "true")
    return given


def check_config(config: RemoteConfig) -> None:
    """Raise UsageError, in words, where settings cannot work; what only the service knows is found by a test."""
    if not _NAME.fullmatch(config.name):
        raise UsageError(f"“{config.name}” cannot name a remote: up to 32 small letters, digits and hyphens can.")
    if config.type in _WRAPPERS:
        raise UsageError(
            f"rclone's “{config.type}” puts something before another remote. Give that other remote itself: what is "
            "replicated is encrypted, checked and cut to size already."
        )
    if config.type in _READ_ONLY or config.type == "memory":
        raise UsageError(f"rclone's “{config.type}” keeps nothing, so nothing can be replicated to it.")
    if not config.type.strip():
        raise UsageError("A remote needs a type: s3, sftp, webdav, local, or another of rclone's.")
    _check_options(config)
    _check_path(config)
    if config.bandwidth and not _TIMETABLE.fullmatch(config.bandwidth):
        raise UsageError(
            f"“{config.bandwidth}” is no bandwidth limit. Give one, such as 2M (bytes a second) or 1M:off (up:down), "
            "or a timetable: 08:00,512k 19:00,off."
        )
    _check_numbers(config)


def _check_options(config: RemoteConfig) -> None:
    for key in config.options:
        if not _KEY.fullmatch(key):
            raise UsageError(f"“{key}” is no option of a remote.")
        if key in _RUNS_PROGRAMS:
            raise UsageError(f"The option “{key}” would start a program on this box; that is not allowed.")
    given = {key for key, value in config.options.items() if value}
    known = backend(config.type)
    for field in known.fields if known else ():
        if field.required and field.key != "path" and field.key not in given and not given & {"env_auth"}:
            raise UsageError(f"{known.title if known else config.type} needs “{field.key}” ({field.label.lower()}).")
    keys, needed = _ANY_OF.get(config.type, (frozenset[str](), ""))
    if keys and not keys & given:
        raise UsageError(f"{known.title if known else config.type} needs {needed}.")
    if known is not None and known.oauth and "token" in given and not _is_token(config.options["token"]):
        raise UsageError(
            'That is not a token: it is the line in braces, {"access_token":…}, that rclone authorize prints.'
        )


def _check_path(config: RemoteConfig) -> None:
    path = PurePosixPath(config.path)
    if config.type == "local" and not path.is_absolute():
        raise UsageError("The path of a folder on this machine has to begin with /.")
    if ".." in path.parts or any(ord(character) < 32 for character in config.path):
        raise UsageError(f"“{config.path}” is no path inside a remote.")
    known = backend(config.type)
    bucket = any(field.key == "path" and field is _BUCKET for field in known.fields) if known else False
    if (bucket or config.type == "azureblob") and not path.parts:
        raise UsageError("The path has to name a bucket (container), and may name a folder in it: path=bucket/folder.")


def _check_numbers(config: RemoteConfig) -> None:
    bounds = (
        ("interval", config.interval, 10, 7 * 86_400),
        ("snapshot interval", config.snapshot_interval, 60, 366 * 86_400),
        ("transfers", config.transfers, 1, 64),
        ("lock days", config.lock_days, 0, 36_500),
        ("kept days", config.keep_daily, 0, 36_500),
        ("kept weeks", config.keep_weekly, 0, 5_200),
    )
    for name, value, least, most in bounds:
        if not least <= value <= most:
            raise UsageError(f"The {name} of a remote can be {least} to {most:,}, not {value:,}.")
    if config.lock_days and config.type != "s3":
        raise UsageError(
            "Object lock is set for each object on S3 only. Elsewhere set it at the service, on the whole container."
        )


def _is_token(value: str) -> bool:
    try:
        return bool(decoding.from_json(value, dict[str, Any]).get("access_token"))
    except msgspec.MsgspecError:
        return False


def _in_one_line(key: str, value: str) -> str:
    """rclone takes no line ends in a value. In a PEM key they are written as its documentation says, in JSON they mean
    nothing."""
    return ("\\n" if key == "key_pem" else "").join(value.strip().splitlines()) if "\n" in value.strip() else value


def _texts(value: str) -> Iterator[str]:
    """What is secret in a longer secret: in a JSON object (tokens, private keys), in Azure's addresses and strings."""
    for found in _AZURE.finditer(value):
        yield found[1]
        yield unquote(found[1])
    try:
        fields = decoding.from_json(value, dict[str, Any])
    except msgspec.MsgspecError:
        return
    yield from (text for key, text in fields.items() if isinstance(text, str) and is_secret(key))
