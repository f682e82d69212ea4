"""Files for the reader: always as a download, never shown by the browser, with a name it can keep."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from litestar import Response
from litestar.response import Stream as StreamingResponse

from appliance.services.client import Stream

_UNSAFE = re.compile(r'[\x00-\x1f\x7f"\\/:*?<>|\u200e\u200f\u202a-\u202e\u2066-\u2069]')
_LONGEST_NAME = 180


def file_name(name: str) -> str:
    """``name`` without what file systems or readers trip over: paths, controls, direction overrides, length."""
    clean = _UNSAFE.sub("_", unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode())).strip(" .")
    if len(clean) > _LONGEST_NAME:
        stem, dot, ending = clean.rpartition(".")
        keep_ending = dot and len(ending) <= 16
        clean = f"{stem[: _LONGEST_NAME - 17]}.{ending}" if keep_ending else clean[:_LONGEST_NAME]
    return clean or "file"


def disposition(name: str) -> str:
    """A Content-Disposition (RFC 6266) with an ASCII name and, where that differs, the true one (RFC 8187)."""
    clean = file_name(name)
    plain = unicodedata.normalize("NFKD", clean).encode("ascii", "ignore").decode()
    plain = file_name(re.sub(r"[%]", "_", plain))
    value = f'attachment; filename="{plain}"'
    if plain != clean:
        value += f"; filename*=UTF-8''{quote(clean, safe='')}"
    return value


def download(stream: Stream) -> Response[Any]:
    """An answer that hands ``stream`` on as it comes.

    The type is always octet-stream: with nosniff, no browser will show or run what strangers sent.
    """
    headers = {"Content-Disposition": disposition(stream.head.name), "Content-Security-Policy": "sandbox"}
    if stream.head.size >= 0:
        headers["Content-Length"] = str(stream.head.size)
    return StreamingResponse(_chunks(stream), media_type="application/octet-stream", headers=headers)


async def _chunks(stream: Stream) -> AsyncIterator[bytes]:
    async for chunk in stream:
        yield chunk
