"""The options of something outside (a directory, a source) as an administrator changes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from appliance.errors import UsageError
from appliance.fields import Field
from appliance.language import later


def merged(fields: Iterable[Field], before: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The options ``before`` with those that are given; an empty value takes one away. ``fields`` are their kind's.

    Raises UsageError where a stored secret would go to another server than the one that it was given for.
    """
    asked = tuple(fields)
    moved = [
        one.key for one in asked if one.place and one.key in given and given[one.key] != before.get(one.key, "")
    ]  # fmt: skip
    stored = [one.key for one in asked if one.secret and one.key in before and one.key not in given]
    if moved and stored:
        raise UsageError(
            later(
                "{changed} can be changed together with the secrets only: give {secrets} anew. A secret is sent only "
                "to the server that it was given for."
            ),
            changed=", ".join(moved),
            secrets=", ".join(stored),
        )
    return {key: value for key, value in {**before, **given}.items() if value}
