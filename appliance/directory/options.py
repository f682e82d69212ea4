"""Reading the options that several kinds of directory have."""

from __future__ import annotations

import re
from collections.abc import Mapping

from appliance.errors import UsageError
from appliance.language import later


def listed(text: str) -> tuple[str, ...]:
    """What stands in lines or between semicolons, each once."""
    return tuple(dict.fromkeys(one.strip() for one in re.split(r"[\n;]", text) if one.strip()))


def truth(options: Mapping[str, str], key: str) -> bool:
    """An option that is true or false; false where it is not given. Raises UsageError for anything else."""
    value = options.get(key, "").strip().lower()
    if value not in {"", "true", "false"}:
        raise UsageError(later("“{key}” is true or false, not “{value}”."), key=key, value=value)
    return value == "true"
