"""Folders as archives: what was sent can be read by the reader of tar archives, and what had changed is told."""

from __future__ import annotations

from pathlib import Path

from appliance.imports import tarred
from appliance.imports.base import Entry, Options
from appliance.imports.packing import look_through, tar_of, tar_size

EML = b"From: a@x.test\r\nSubject: one\r\n\r\nhello\r\n"


def read(packed: bytes, at: Path) -> dict[str, tuple[Entry, bytes]]:
    """The entries of an archive by their paths, and their bytes."""
    at.write_bytes(packed)
    with at.open("rb") as file:
        found = tarred.read(file, at.name, Options())
        return {one.id: (one, b"".join(one.content().pieces) if one.content else b"") for one in found}


def test_what_was_packed_is_read_and_what_had_changed_is_broken(tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    (folder / "Work").mkdir(parents=True)
    for name in ("Work/a.eml", "Work/b.eml", "c.eml"):
        (folder / name).write_bytes(EML)
    seen = look_through(folder)
    (folder / "Work" / "b.eml").write_bytes(EML + b"more\r\n")
    changed: list[str] = []
    packed = b"".join(tar_of(seen.members, changed.append))
    assert len(packed) == tar_size(seen.members) and changed == ["Work/b.eml"]
    found = read(packed, tmp_path / "mail.tar")
    assert {path: content for path, (_, content) in found.items()} == {
        "Work/a.eml": EML, "Work/b.eml": b"", "c.eml": EML,
    }  # fmt: skip
    assert found["Work/b.eml"][0].broken.startswith("It was changed or removed while its folder was sent.")
    assert found["Work/a.eml"][0].folder == ("Work",)
