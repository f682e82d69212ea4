"""What a file in an archive of mail is, by its path alone, and which folder it stands for. Pure.

Mail programs lay their folders out on a disk in ways of their own: Maildir and Maildir++ (maildir(5), Courier,
Dovecot), MH, Thunderbird (``Inbox``, ``Inbox.sbd/``), Apple Mail (``INBOX.mbox/…/Messages/``), Google Takeout. Paths
are words here: whatever they are, nothing is opened or written by them.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from imapclient import imap_utf7

from appliance.mail.folders import Role, role_by_name

Layout = Literal["message", "emlx", "sequences", "unfinished", "furniture", ""]
"""What the path says: one message; one of Apple Mail; MH's sequences; a delivery into a Maildir that was never
finished; something that mail programs and systems keep beside mail; nothing."""

_LONGEST_NAME: Final = 255
_DEEPEST: Final = 60

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_MAILDIR_FLAGS = re.compile(r"[:;!,_-]2,([A-Za-z]*)$")
_MAILDIR_TIME = re.compile(r"(\d{9,10})\.[^/]+")
_MAILDIR_LETTERS: Final = {
    "S": "seen",
    "R": "answered",
    "F": "flagged",
    "T": "deleted",
    "D": "draft",
    "P": "forwarded",
}
_MAILDIR_ROOTS: Final = frozenset({"maildir", ".maildir"})
_PROFILE = re.compile(r"[a-z0-9]{8}\.[\w .-]+")
_PROFILE_MAIL: Final = frozenset({"Mail", "ImapMail"})
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_APPLE_FOLDER = re.compile(r"\.(?:mbox|imapmbox|pop3mbox)$", re.IGNORECASE)
_ENDINGS = re.compile(
    r"\.(?:tar\.(?:gz|bz2|xz|zst)|tgz|tbz2?|txz|tzst|tar|zip|mbox|mbx|mboxrd|pst|ost|gz|bz2|xz|zst)$", re.IGNORECASE
)

_FURNITURE: Final = frozenset(
    {
        *(".ds_store", "thumbs.db", "desktop.ini", "table_of_contents", "info.plist", "archive_browser.html"),
        *("maildirfolder", "maildirsize", "subscriptions", ".subscriptions", "courierimapsubscribed", "courierimapacl"),
        *("courierimapuiddb", "courierpop3dsizelist", "msgfilterrules.dat", "popstate.dat", "panacea.dat"),
        *("filterlog.html", "rules.dat", "virtualfolders.dat", ".xmhcache", ".folders", ".uidvalidity", ".qmail"),
    }
)
_FURNITURE_BEGINS: Final = ("dovecot", ".dovecot", "._", "courierimap")
_FURNITURE_ENDS: Final = (".msf", ".mozmsgs", ".emlxpart", ".plist", ".lock", ".summary")
_FURNITURE_FOLDERS: Final = frozenset({"__macosx", ".git", "courierimapkeywords", "courierimaphieracl"})


class Placed(NamedTuple):
    """What a path says. ``folder`` is that of a message in the file; ``name`` the file's; ``above`` the folders that
    the file itself lies in, without what is only furniture; ``received`` is in microseconds."""

    layout: Layout
    folder: tuple[str, ...]
    role: Role
    name: str
    above: tuple[str, ...]
    flags: tuple[str, ...] = ()
    received: int | None = None


def names(path: str) -> tuple[str, ...]:
    """The names in a path, as words: without what leads nowhere or upwards, without control characters."""
    parts = (_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", part).strip() for part in path.replace("\\", "/").split("/"))
    return tuple(part[:_LONGEST_NAME] for part in parts if part not in ("", ".", ".."))[-_DEEPEST:]


def placed(path: tuple[str, ...], archive: str) -> Placed:
    """What the file at ``path`` (its names) in the archive of that name is; ``path`` has one name at least."""
    *folders, name = path
    if folders and folders[0] == stem(archive):  # it was packed with the folder that it is called after
        del folders[0]
    if len(folders) >= 1 and folders[-1] in ("cur", "new", "tmp") and not name.startswith("."):
        return _in_maildir(tuple(folders), name)
    above = _without_furniture(folders)
    folder = above
    layout: Layout = ""
    lower = name.lower()
    if _is_furniture(folders, lower):
        layout = "furniture"
    elif lower == ".mh_sequences":
        layout = "sequences"
    elif lower.endswith(".emlx"):
        layout = "emlx"
    elif lower.endswith((".eml", ".wdseml")):
        layout = "message"
    return Placed(layout, folder, role(folder), name, above)


def role(folder: tuple[str, ...]) -> Role:
    """What a folder is for, by its last name."""
    if not folder:
        return ""
    return "inbox" if folder[-1].casefold() == "inbox" else role_by_name(folder[-1])


def stem(name: str) -> str:
    """A file's name without the endings that say what it is."""
    while (shorter := _ENDINGS.sub("", name)) not in ("", name):
        name = shorter
    return name


def container(place: Placed) -> tuple[str, ...]:
    """The folder that a file with many messages stands for: itself, or what it lies in where its name says nothing."""
    own = stem(place.name)
    if own.lower() in ("mbox", "mailbox") and place.above:
        return place.above
    return (*place.above, own)


def _in_maildir(folders: tuple[str, ...], name: str) -> Placed:
    *above, kind = folders
    flags = _MAILDIR_FLAGS.search(name)
    time = _MAILDIR_TIME.match(name)
    last = above[-1] if above else ""
    if not last or last.lower() in _MAILDIR_ROOTS:
        folder = (*above[:-1], "INBOX")
    elif last.startswith(".") and len(last) > 1:
        root = above[:-2] if len(above) > 1 and above[-2].lower() in _MAILDIR_ROOTS else above[:-1]
        folder = (*root, *(_decoded(part) for part in last[1:].split(".") if part))
    else:
        folder = tuple(_decoded(part) for part in _without_furniture(above))
    layout: Layout = "unfinished" if kind == "tmp" else "furniture" if _is_furniture(list(folders), name) else "message"
    letters = flags[1] if flags else ""
    return Placed(
        layout,
        folder,
        role(folder),
        name,
        tuple(above),
        tuple(_MAILDIR_LETTERS[letter] for letter in letters if letter in _MAILDIR_LETTERS),
        int(time[1]) * 1_000_000 if time else None,
    )


def _decoded(name: str) -> str:
    """A folder's name as people read it: modified UTF-7 (RFC 3501 section 5.1.3) decoded."""
    if not name.isascii() or "&" not in name:
        return name
    try:
        shown: str = imap_utf7.decode(name.encode())
        shown.encode()
    except ValueError:
        return name
    return shown


def _without_furniture(folders: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    kept = list(folders)
    for at in range(len(kept) - 1):
        if kept[at + 1] in _PROFILE_MAIL and _PROFILE.fullmatch(kept[at]):
            kept = kept[at + 2 :]
            break
    for at in range(len(kept)):
        if kept[at] == "Takeout":
            del kept[at : at + 2]
            break
    apple = next((at for at, part in enumerate(kept) if _APPLE_FOLDER.search(part)), None)
    if apple is not None:
        kept = [part for part in kept if not _UUID.fullmatch(part) and not re.fullmatch(r"V\d+|Data|Messages|\d", part)]
    return tuple(_APPLE_FOLDER.sub("", part.removesuffix(".sbd")) or part for part in kept)


def _is_furniture(folders: list[str], lower: str) -> bool:
    return (
        lower in _FURNITURE
        or lower.startswith(_FURNITURE_BEGINS)
        or lower.endswith(_FURNITURE_ENDS)
        or any(part.lower() in _FURNITURE_FOLDERS for part in folders)
    )
