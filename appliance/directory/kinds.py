"""The kinds of directory that there are, and how one is made from what the administrator gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from appliance.directory import csvfile, entra, google, ldap
from appliance.directory.base import Directory, DirectoryKind
from appliance.errors import UsageError

_MADE_BY: Final[Mapping[str, Callable[[Mapping[str, str]], Directory]]] = {
    csvfile.KIND.kind: csvfile.open_directory,
    entra.KIND.kind: entra.open_directory,
    google.KIND.kind: google.open_directory,
    ldap.KIND.kind: ldap.open_directory,
}

KINDS: Final[tuple[DirectoryKind, ...]] = (entra.KIND, ldap.KIND, google.KIND, csvfile.KIND)


def kind(name: str) -> DirectoryKind:
    """The kind of that name. Raises UsageError."""
    found = next((one for one in KINDS if one.kind == name), None)
    if found is None:
        raise UsageError(f"There is no kind of directory “{name}”. There are: {', '.join(one.kind for one in KINDS)}.")
    return found


def check_options(name: str, options: Mapping[str, str]) -> None:
    """Whether a directory of the kind can be made of the options; what they lead to is not asked. Raises UsageError."""
    asked = kind(name)
    known = {field.key for field in asked.fields}
    if strange := sorted(options.keys() - known):
        raise UsageError(f"{asked.title} has no option “{strange[0]}”. It has: {', '.join(sorted(known))}.")
    if missing := [field.label for field in asked.fields if field.required and not options.get(field.key, "").strip()]:
        raise UsageError(f"{asked.title} needs: {', '.join(missing)}.")
    open_directory(name, options)


def open_directory(name: str, options: Mapping[str, str]) -> Directory:
    """A directory, set up; nothing is connected yet. Raises UsageError for options that make no sense."""
    return _MADE_BY[kind(name).kind](options)
