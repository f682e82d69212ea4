"""The machine as one file for VMware and VirtualBox: an OVF 1.1 descriptor (DMTF DSP0243), a manifest with SHA-256 of
each part, and the first disk, in a tar in this order (OVF 1.1 section 5).

The second disk, on which the archive will lie, is described and made empty on import: it has no file.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from string import Template
from xml.sax.saxutils import escape

_DESCRIPTOR = Path(__file__).with_name("machine.ovf")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the descriptor says of the machine."""

    version: str
    cores: int = 2
    memory: int = 4096  # MiB
    root: int = 8192  # MiB
    data: int = 102_400  # MiB, at most: it takes what is written


def descriptor(machine: Machine, disk: str, size: int) -> str:
    """The descriptor of `machine`, whose first disk is the file `disk` of `size` bytes beside it."""
    return Template(_DESCRIPTOR.read_text()).substitute(
        version=escape(machine.version),
        disk=escape(disk),
        size=size,
        cores=machine.cores,
        memory=machine.memory,
        root=machine.root,
        data=machine.data,
    )


def pack(out: Path, machine: Machine, disk: Path, *, time: int) -> None:
    """Writes the OVA `out` of `machine` with the stream-optimised VMDK `disk`; all dates in it are `time`."""
    name = out.stem
    text = descriptor(machine, f"{name}-disk1.vmdk", disk.stat().st_size).encode()
    manifest = (
        f"SHA256({name}.ovf)= {hashlib.sha256(text).hexdigest()}\nSHA256({name}-disk1.vmdk)= {_sha256(disk)}\n"
    ).encode()
    with tarfile.open(out, "w", format=tarfile.USTAR_FORMAT) as archive:

        def add(name: str, content: io.BufferedIOBase, size: int) -> None:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = size, time, 0o644
            archive.addfile(entry, content)

        add(f"{name}.ovf", io.BytesIO(text), len(text))
        add(f"{name}.mf", io.BytesIO(manifest), len(manifest))
        with disk.open("rb") as content:
            add(f"{name}-disk1.vmdk", content, disk.stat().st_size)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
