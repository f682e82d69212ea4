"""On PYTHONPATH: a clock that is as wrong as the file MAILKEEP_TEST_CLOCK says, in every process at once.

The file holds one signed 64-bit number of seconds in the machine's byte order. It is mapped into memory here, before
a process confines itself, so a change is seen at once and by processes that cannot open a file any more.
"""

import mmap
import os
import struct
import time

_path = os.environ.get("MAILKEEP_TEST_CLOCK")
if _path:
    with open(_path, "rb") as _file:
        _shared = mmap.mmap(_file.fileno(), 8, prot=mmap.PROT_READ)
    _time, _time_ns = time.time, time.time_ns

    def _wrong_by() -> int:
        return int(struct.unpack_from("=q", _shared)[0])

    time.time = lambda: _time() + _wrong_by()
    time.time_ns = lambda: _time_ns() + _wrong_by() * 1_000_000_000
