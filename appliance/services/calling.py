"""What a service takes from a call: checked once, against the service's own signature.

Both sockets carry values of any type and size, and one of them is spoken by a process that faces the internet. So a
service gets only what its parameters name, of the types they name, within the bounds below.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_type_hints

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
    """A function whose keyword-only parameters come from a call; ``given`` is what comes before them.

    With ``**more: Unpack[SomeTypedDict]`` the members of that come from the call, too, those that it has.
    """

    def __init__(self, function: Callable[..., Any], *given: Any) -> None:
        self._function = function
        self._given = given
        types = get_type_hints(function)
        parameters = inspect.signature(function).parameters.values()
        defaults = {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}
        for one in parameters:
            if one.kind is one.VAR_KEYWORD:
                members = get_type_hints(*get_args(types[one.name]))
                types |= {name: kind | msgspec.UnsetType for name, kind in members.items()}
                defaults |= dict.fromkeys(members, msgspec.UNSET)
        self._names = tuple(defaults)
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
        named = {name: value for name in self._names if (value := getattr(values, name)) is not msgspec.UNSET}
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
