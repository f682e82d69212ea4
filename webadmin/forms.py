"""Reading forms: the annotation for a form body, and small readers of what people type."""

from __future__ import annotations

import re
from typing import Annotated, TypeVar

from litestar.enums import RequestEncodingType
from litestar.params import Body

T = TypeVar("T")

Form = Annotated[T, Body(media_type=RequestEncodingType.URL_ENCODED)]
Upload = Annotated[T, Body(media_type=RequestEncodingType.MULTI_PART)]


def items(text: str) -> tuple[str, ...]:
    """The parts of a list that somebody typed, apart by commas, semicolons, blanks or lines."""
    return tuple(part for part in re.split(r"[\s,;]+", text) if part)
