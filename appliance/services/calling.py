"""What a service takes from a call: checked once, against the service's own signature.

Both sockets carry values of any type and size, and one of them is spoken by a process that faces the internet. So a
service gets only what its parameters name, of the types they name, within the bounds below.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import msgspec

from appliance import decoding
from appliance.errors import UsageError

LONGEST_TEXT = 32 * 1024
"""Characters of one text: a query, a name, a reason, an id."""
MOST_VALUES = 10_000
"""Texts in one list: ids, addresses, networks."""
LARGEST_FILE = 32 * 1024 * 1024
"""Bytes of a file that is handed in."""
LARGEST_NUMBER = 2**53


class Service:
    """A function whose keyword-only parameters come from a call; ``given`` is what comes before them."""

    def __init__(self, function: Callable[..., Any], *given: Any) -> None:
        self._function = function
        self._given = given
        types = get_type_hints(function)
        self._names = tuple(
            one.name for one in inspect.signature(function).parameters.values() if one.kind is one.KEYWORD_ONLY
        )
        defaults = {name: inspect.signature(function).parameters[name].default for name in self._names}
        self._struct = msgspec.defstruct(
            "Parameters",
            [
                (name, types[name]) if default is inspect.Parameter.empty else (name, types[name], default)
                for name, default in defaults.items()
            ],
            kw_only=True,
            forbid_unknown_fields=True,
        )

    def takes(self, name: str) -> bool:
        """Whether the service has a parameter of that name."""
        return name in self._names

    def __call__(self, *who: Any, params: Mapping[str, Any]) -> Any:
        """The service's answer. Raises UsageError where it does not take these parameters, and what it raises."""
        try:
            values = decoding.from_values(params, self._struct)
        except msgspec.ValidationError as error:
            raise UsageError(f"That call cannot be understood: {str(error)[:200]}.") from error
        named = {name: getattr(values, name) for name in self._names}
        for name, value in named.items():
            if not _within_bounds(value):
                raise UsageError(f"“{name}” is larger than it may be.")
        return self._function(*self._given, *who, **named)


def _within_bounds(value: object) -> bool:
    match value:
        case str():
            return len(value) <= LONGEST_TEXT
        case bytes():
            return len(value) <= LARGEST_FILE
        case dict():
            return len(value) <= MOST_VALUES and all(map(_within_bounds, (*value, *value.values())))
        case list() | tuple():
            return len(value) <= MOST_VALUES and all(map(_within_bounds, value))
        case int():
            return abs(value) <= LARGEST_NUMBER
        case _:
            return True
