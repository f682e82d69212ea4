"""What an item is and in which state, after its message class and flags."""

from __future__ import annotations

from appliance.mapi import lenient, tags
from appliance.mapi.base import Item, Kind, Properties

_KINDS: tuple[tuple[str, Kind], ...] = (
    ("IPM.NOTE", "mail"),
    ("IPM.SCHEDULE", "mail"),  # meeting requests and answers (MS-OXOCAL section 2.2.4)
    ("IPM.TASKREQUEST", "mail"),
    ("IPM.POST", "mail"),
    ("IPM.SHARING", "mail"),
    ("IPM.RECALL", "mail"),
    ("IPM.OUTLOOK.RECALL", "mail"),
    ("IPM.DOCUMENT", "mail"),
    ("REPORT", "mail"),
    ("IPM.APPOINTMENT", "calendar"),
    ("IPM.OLE.CLASS.{00061055-0000-0000-C000-000000000046}", "calendar"),  # one changed date of a series
    ("IPM.CONTACT", "contact"),
    ("IPM.DISTLIST", "contact"),
    ("IPM.ABCHPERSON", "contact"),
    ("IPM.TASK", "task"),
    ("IPM.ACTIVITY", "journal"),
    ("IPM.STICKYNOTE", "note"),
)
_NEVER_MAIL = ("IPM.CONFIGURATION", "IPM.MICROSOFT", "IPM.RULE", "IPM.EXTENDEDRULE", "IPC.")

_READ, _UNSENT = 0x0001, 0x0008  # PidTagMessageFlags (MS-OXCMSG section 2.2.1.6)
_DELETED = 0x0008  # MSGSTATUS_DELMARKED
_REPLIED, _REPLIED_ALL, _FORWARDED = 102, 103, 104  # PidTagLastVerbExecuted (MS-OXOMSG section 2.2.1.6)
_REPLIED_ICON, _FORWARDED_ICON = 0x105, 0x106
_FLAGGED = 2  # PidTagFlagStatus (MS-OXOFLAG section 2.2.1.1): followupFlagged


def message_class(properties: Properties) -> str:
    """The message class in capitals, "" where there is none."""
    return lenient.text(properties, tags.MESSAGE_CLASS).strip().upper()


def is_class(name: str, *classes: str) -> bool:
    """Whether a message class is one of these, or derived from one (MS-OXCMSG section 2.2.1.3)."""
    return any(name == one or name.startswith(one + ".") for one in classes)


def kind(item: Item) -> Kind:
    """What an item is. One of a class that nobody knows is mail where it was sent by or to somebody: forms of a
    company's own have such classes."""
    name = message_class(item.properties)
    known = next((kind for known, kind in _KINDS if is_class(name, known)), None)
    if known is not None:
        return known
    if name.startswith(_NEVER_MAIL):
        return "other"
    return "mail" if name in ("", "IPM") or _was_sent(item) else "other"


def flags(properties: Properties) -> tuple[str, ...]:
    """In which state it was left, in the words of ``sources.base.Item.flags``."""
    state = lenient.number(properties, tags.MESSAGE_FLAGS)
    verb = lenient.number(properties, tags.LAST_VERB_EXECUTED)
    icon = lenient.number(properties, tags.ICON_INDEX)
    known = {
        "seen": bool(state & _READ),
        "answered": verb in (_REPLIED, _REPLIED_ALL) or icon == _REPLIED_ICON,
        "forwarded": verb == _FORWARDED or icon == _FORWARDED_ICON,
        "flagged": lenient.number(properties, tags.FLAG_STATUS) == _FLAGGED,
        "deleted": bool(lenient.number(properties, tags.MESSAGE_STATUS) & _DELETED),
        "draft": bool(state & _UNSENT),
    }
    return tuple(name for name, is_set in known.items() if is_set)


def _was_sent(item: Item) -> bool:
    properties = item.properties
    senders = (tags.SENDER_NAME, tags.SENDER_EMAIL_ADDRESS, tags.TRANSPORT_MESSAGE_HEADERS)
    return bool(lenient.first_text(properties, *senders)) or len(item.recipients) > 0
