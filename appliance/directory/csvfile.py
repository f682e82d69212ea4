"""A list of people in a CSV file: for a mail server that has no directory that can be asked."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Final

from appliance.directory.base import Check, DirectoryKind, LeftOut, Listing, Person, Progress
from appliance.errors import UsageError
from appliance.fields import Field
from appliance.mail.addresses import domain, local_part, normalise

KIND: Final = DirectoryKind(
    "csv",
    "CSV file",
    "A list with the columns primary, aliases (separated by ;), name, and where needed id, login and state (active, "
    "disabled). An entry is recognised by its id, without one by its primary address.",
    (
        Field(
            "content",
            "List",
            "The whole file; its first line names the columns. On the command line: content=@people.csv",
            required=True,
            multiline=True,
        ),
    ),
)
_COLUMNS = frozenset({"primary", "aliases", "name", "id", "login", "state"})
_DELIMITERS = ("\t", ";", ",")
_ON = frozenset({"", "active", "enabled", "yes", "true", "1"})
_OFF = frozenset({"disabled", "no", "false", "0"})


class CsvDirectory:
    """The list, read."""

    def __init__(self, content: str) -> None:
        self._rows = list(_rows(content))

    def check(self) -> Iterator[Check]:
        """Which lines cannot be taken."""
        found = self.people(lambda _done, _total: None)
        yield Check("list", "ok", f"{len(found.people)} people can be read.")
        for one in found.left_out:
            yield Check(one.who, "warning", one.why)

    def people(self, progress: Progress) -> Listing:
        """Everybody in the list."""
        people: dict[str, Person] = {}
        wrong: list[LeftOut] = []
        for number, row in self._rows:
            try:
                person = _person(row)
                if person.id in people:
                    raise UsageError(f"“{person.id}” is in the list twice.")
            except UsageError as error:
                wrong.append(LeftOut(f"line {number}", error.message))
                continue
            people[person.id] = person
        progress(len(self._rows), len(self._rows))
        return Listing(tuple(people.values()), tuple(wrong))


def open_directory(options: Mapping[str, str]) -> CsvDirectory:
    """The list in ``content``. Raises UsageError where its first line names no column “primary”."""
    return CsvDirectory(options.get("content", ""))


def _rows(content: str) -> Iterator[tuple[int, dict[str, str]]]:
    text = content.removeprefix("\ufeff")
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    header = [one.strip().lower() for one in next(reader, [])]
    if "primary" not in header:
        raise UsageError("The first line of the list must name its columns: primary, aliases, name.")
    if strange := sorted(one for one in header if one not in _COLUMNS):
        raise UsageError(f"The list has a column “{strange[0]}”. It can have: {', '.join(sorted(_COLUMNS))}.")
    for row in reader:
        if any(one.strip() for one in row):
            yield reader.line_num, dict(zip(header, (one.strip() for one in row), strict=False))


def _person(row: Mapping[str, str]) -> Person:
    given = [one.strip() for one in (row.get("primary", ""), *row.get("aliases", "").split(";")) if one.strip()]
    if not row.get("primary"):
        raise UsageError("There is no primary address.")
    for one in given:
        if not (domain(normalise(one)) and local_part(normalise(one))):
            raise UsageError(f"“{one}” is not a mail address.")
    addresses = tuple(dict.fromkeys(map(normalise, given)))
    state = row.get("state", "").lower()
    if state not in _ON | _OFF:
        raise UsageError(f"“{state}” is no state. It is active or disabled.")
    return Person(
        id=row.get("id") or addresses[0],
        name=row.get("name") or addresses[0],
        addresses=addresses,
        state="disabled" if state in _OFF else "active",
        login=row.get("login", ""),
    )
