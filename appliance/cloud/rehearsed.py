"""What a rehearsal of the restore found out, and in words."""

from __future__ import annotations

import msgspec


class Checked(msgspec.Struct, frozen=True):
    """One thing that a restore needs. ``trouble`` is what is wrong with it, in sentences; nothing where it is well."""

    what: str
    trouble: tuple[str, ...]
    told: str = ""  # how much of it there is


class Rehearsed(msgspec.Struct, frozen=True):
    """What a rehearsal found out. Times are seconds, ``at`` microseconds."""

    remote: str
    epoch: int
    generation: int
    at: int
    checks: tuple[Checked, ...]
    volumes: int  # read back
    bytes: int  # fetched
    opened: int  # records that were decrypted and agree with what was committed to
    seconds: float
    estimate: float | None  # seconds that a whole restore would take; None where too little was fetched to tell

    @property
    def is_whole(self) -> bool:
        """Whether the archive could be restored from there, as far as could be seen."""
        return not any(one.trouble for one in self.checks)

    @property
    def words(self) -> str:
        """The result in a sentence."""
        if not self.is_whole:
            wrong = ", ".join(one.what for one in self.checks if one.trouble)
            return f"Generation {self.generation} could not be restored as it is; something is wrong with: {wrong}."
        took = "" if self.estimate is None else f"; a whole restore would take about {_duration(self.estimate)}"
        return f"Generation {self.generation} could be restored{took}."

    def lines(self) -> tuple[str, ...]:
        """Each check in a line, and each trouble in one of its own."""
        return tuple(
            line
            for one in self.checks
            for line in (f"{one.what}: {one.told or 'looked at'}, {len(one.trouble) or 'no'} troubles.", *one.trouble)
        )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{max(1, round(seconds))} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 7200 else f"{round(seconds / 3600)} hours"
