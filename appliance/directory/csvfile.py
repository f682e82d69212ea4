"""A list of people in a CSV file: for a mail server that has no directory that can be asked."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Final

from appliance.checks import Check
from appliance.directory.base import DirectoryKind, LeftOut, Listing, Person, Progress
from appliance.errors import UsageError
from appliance.fields import Field
from appliance.framing import in_words
from appliance.language import _, later, ngettext
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
_BEYOND = ""  # no column has that name
_DELIMITERS = ("\t", ";", ",")
_ON = frozenset({"", "active", "enabled", "yes", "true", "1"})
_OFF = frozenset({"disabled", "no", "false", "0"})


class CsvDirectory:
    """The list, read."""

    def __init__(self, content: str) -> None:
        self._rows = list(_rows(content))

    def check(self) -> Iterator[Check]:
        """Which lines cannot be taken."""
        found = self.people(_untold)
        text = ngettext("{count} person can be read.", "{count} people can be read.", len(found.people))
        yield Check(_("list"), "ok", text.format(count=len(found.people)))
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
                    raise UsageError(later("“{id}” is in the list twice."), id=person.id)
            except UsageError as error:
                wrong.append(LeftOut(_("line {number}").format(number=number), in_words(error), row.get("id", "")))
                continue
            people[person.id] = person
        progress(len(self._rows), len(self._rows))
        return Listing(tuple(people.values()), tuple(wrong))


def open_directory(options: Mapping[str, str]) -> CsvDirectory:
    """The list in ``content``. Raises UsageError where its first line names no column “primary”, or where it cannot be
    cut into lines."""
    try:
        return CsvDirectory(options.get("content", ""))
    except csv.Error as error:
        raise UsageError(later("This is not a list of values parted by commas: {reason}."), reason=error) from error


def _rows(content: str) -> Iterator[tuple[int, dict[str, str]]]:
    text = content.removeprefix("\ufeff")
    first = next(iter(text.splitlines()), "")
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = [one.strip().lower() for one in next(reader, [])]
    while header and not header[-1]:
        header.pop()  # columns that a spreadsheet shows and nobody has used
    if "primary" not in header:
        raise UsageError(later("The first line of the list must name its columns: primary, aliases, name."))
    if strange := sorted(one for one in header if one not in _COLUMNS):
        raise UsageError(
            later("The list has a column “{column}”. It can have: {columns}."),
            column=strange[0],
            columns=", ".join(sorted(_COLUMNS)),
        )
    if len(set(header)) < len(header):
        raise UsageError(later("The first line of the list names a column twice."))
    for row in reader:
        if any(one.strip() for one in row):
            values = [one.strip() for one in row]
            yield reader.line_num, dict(zip(header, values, strict=False)) | {_BEYOND: "".join(values[len(header) :])}


def _person(row: Mapping[str, str]) -> Person:
    given = [one.strip() for one in (row.get("primary", ""), *row.get("aliases", "").split(";")) if one.strip()]
    if row[_BEYOND]:
        raise UsageError(later("There are more values than columns. A value with a comma in it stands in quotes."))
    if not row.get("primary"):
        raise UsageError(later("There is no primary address."))
    for one in given:
        if not (domain(normalise(one)) and local_part(normalise(one))):
            raise UsageError(later("“{text}” is not a mail address."), text=one)
    addresses = tuple(dict.fromkeys(map(normalise, given)))
    state = row.get("state", "").lower()
    if state not in _ON | _OFF:
        raise UsageError(later("“{state}” is no state. It is active or disabled."), state=state)
    return Person(
        id=row.get("id") or addresses[0],
        name=row.get("name") or addresses[0],
        addresses=addresses,
        state="disabled" if state in _OFF else "active",
        login=row.get("login", ""),
    )


def _untold(_done: int, _total: int | None) -> None: ...
