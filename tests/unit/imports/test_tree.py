"""Archives of mail: what is in them comes with its folder and flags; what cannot be read is said; nothing harms."""

from __future__ import annotations

import base64
import bz2
import csv
import email
import gzip
import hashlib
import io
import lzma
import os
import plistlib
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
import zstandard

from appliance.imports import formats, unpacking
from appliance.imports.base import FileError, Options
from appliance.imports.exported import COLUMNS
from appliance.imports.nursery import Nursery
from appliance.imports.packing import CHANGED
from appliance.imports.reading import Arriving
from tests.unit.imports.readings import Gone, gone_through

FROM = b"From anna@example.org Mon Jan  1 10:00:00 2024\n"


def mail(subject: str, text: str = "Text") -> bytes:
    """A message."""
    return (
        f"From: a@example.org\r\nDate: Mon, 1 Jan 2024 10:00:00 +0000\r\nSubject: {subject}\r\n\r\n{text}\r\n".encode()
    )


def mbox(*subjects: str) -> bytes:
    """An mbox file."""
    return b"".join(FROM + mail(subject).replace(b"\r\n", b"\n") + b"\n" for subject in subjects)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP archive."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        for name, raw in files.items():
            archive.writestr(name, raw)
    return held.getvalue()


def tarred(files: dict[str, bytes], **others: tarfile.TarInfo) -> bytes:
    """A tar archive; ``others`` are members without bytes."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, raw in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
        for info in others.values():
            archive.addfile(info)
    return held.getvalue()


PACKERS = {
    "export.zip": zipped,
    "export-stored.zip": lambda files: zipped(files, zipfile.ZIP_STORED),
    "export.tar": tarred,
    "export.tar.gz": lambda files: gzip.compress(tarred(files)),
    "export.tar.bz2": lambda files: bz2.compress(tarred(files)),
    "export.tar.xz": lambda files: lzma.compress(tarred(files)),
    "export.tar.zst": lambda files: zstandard.compress(tarred(files)),
}


def told(gone: Gone) -> list[tuple[str, str, str]]:
    """Each event as its kind, folder and subject or reason."""
    raws = {one.event.number: one for one in gone.came}
    said = []
    for event in gone.events:
        folder = "/".join(event.folder)
        if isinstance(event, Arriving):
            one = raws[event.number]
            subject = one.raw.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode()
            said.append(("cut" if one.why else "mail", folder, one.why or subject))
        else:
            said.append((type(event).__name__.lower(), folder, event.why))
    return said


@pytest.mark.parametrize("name", PACKERS)
def test_all_kinds_of_mail_in_all_kinds_of_archives(nursery: Nursery, name: str) -> None:
    files = {
        "Projects/a.eml": mail("a"),
        "Maildir/.Sent/cur/1700000000.M1.host:2,FS": mail("b").replace(b"\r\n", b"\n"),
        "Local Folders/Inbox.sbd/2024": mbox("c", "d"),
        "Local Folders/Inbox.msf": b"// <!-- <mdb:mork:z v=1.4/> -->",
        "apple/INBOX.mbox/Messages/1.emlx": emlx(mail("e"), flags=1),
        "mh/.mh_sequences": b"unseen: 2\nreplied: 1\n",
        "mh/1": mail("f"),
        "mh/2": mail("g"),
        "inner.zip": zipped({"deep/x.eml": mail("h")}),
        "inner.tar": tarred({"deep/x.eml": mail("i")}),
        "old.mbox.gz": gzip.compress(mbox("j")),
        "notes.txt": b"Note: this is no mail\n",
        "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "saved": mail("k"),
    }
    gone = gone_through(nursery, PACKERS[name](files), name)
    assert gone.error is None
    # In a ZIP archive MH's sequences come first, elsewhere where they are; here nothing depends on it.
    assert told(gone) == [
        ("mail", "Projects", "a"),
        ("mail", "Sent", "b"),
        ("mail", "Local Folders/Inbox/2024", "c"),
        ("mail", "Local Folders/Inbox/2024", "d"),
        ("mail", "apple/INBOX", "e"),
        ("mail", "mh", "f"),
        ("mail", "mh", "g"),
        ("mail", "inner/deep", "h"),
        ("mail", "inner/deep", "i"),
        ("mail", "old", "j"),
        ("left", "", "It is no mail."),
        ("left", "", "It is no mail."),
        ("mail", "", "k"),
    ]
    metas = [one.event.meta for one in gone.came]
    assert set(metas[1].flags) == {"flagged", "seen"}
    assert metas[1].received == 1_700_000_000_000_000
    assert metas[4].flags == ("seen",)
    assert [metas[5].flags, metas[6].flags] == [("seen", "answered"), ()]
    assert gone.came[1].event.role == "sent"
    assert len({event.id for event in gone.events}) == len(gone.events), "every item has an id of its own"


@pytest.mark.parametrize("name", ["export.zip", "export.tar", "export.tar.gz"])
def test_reading_goes_on_at_any_item(nursery: Nursery, name: str) -> None:
    raw = PACKERS[name]({"a.eml": mail("a"), "box": mbox("b", "c", "d"), "e.eml": mail("e"), "f.bin": b"\1\2"})
    whole = gone_through(nursery, raw, name)
    for skip in range(len(whole.events) + 1):
        rest = gone_through(nursery, raw, name, skip=skip)
        assert [(event.number, event.id) for event in rest.events] == [
            (event.number, event.id) for event in whole.events[skip:]
        ]
        assert [one.raw for one in rest.came] == [one.raw for one in whole.came if one.event.number >= skip]


def test_a_single_message_and_a_compressed_mbox(nursery: Nursery) -> None:
    assert told(gone_through(nursery, mail("a"), "a.eml")) == [("mail", "", "a")]
    assert told(gone_through(nursery, gzip.compress(mbox("a", "b")), "x.mbox.gz")) == [
        ("mail", "", "a"),
        ("mail", "", "b"),
    ]
    assert told(gone_through(nursery, zstandard.compress(mail("a")), "x.eml.zst")) == [("mail", "", "a")]


def test_unix_line_ends_become_those_of_mail_and_others_are_kept(nursery: Nursery) -> None:
    unix = mail("a").replace(b"\r\n", b"\n")
    odd = mail("b", "a bare\nline end")
    gone = gone_through(nursery, tarred({"a.eml": unix, "b.eml": odd}), "x.tar")
    assert [one.raw for one in gone.whole] == [mail("a"), odd]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "empty"),
        (b"\r\n\r\n", "empty"),
        (b"\x00\x01\x02 binary", "no message"),
        (b"Dear all,\r\n\r\nhello", "no message"),
    ],
)
def test_what_only_calls_itself_mail_is_broken(nursery: Nursery, raw: bytes, words: str) -> None:
    gone = gone_through(nursery, zipped({"a.eml": raw, "b.eml": mail("b")}), "x.zip")
    assert [said[0] for said in told(gone)] == ["broken", "mail"]
    assert words in told(gone)[0][2]


def emlx(message: bytes, *, flags: int, received: int = 1_700_000_000) -> bytes:
    """A message as Apple Mail keeps it."""
    known = plistlib.dumps({"flags": flags, "date-received": received, "remote-id": "1"})
    return f"{len(message):<10}\n".encode() + message + known


def test_apple_mail_knows_flags_and_times(nursery: Nursery) -> None:
    gone = gone_through(nursery, emlx(mail("a").replace(b"\r\n", b"\n"), flags=0b101010111), "1.emlx")
    assert gone.format == "emlx"
    assert gone.whole[0].raw == mail("a")
    meta = gone.whole[0].event.meta
    assert set(meta.flags) == {"seen", "deleted", "answered", "flagged", "draft", "forwarded"}
    assert meta.received == 1_700_000_000_000_000


def partial(attachment: bytes) -> tuple[bytes, bytes]:
    """A message as Apple Mail keeps it without its attachment, and the whole one."""
    head = (
        b"From: a@example.org\r\nSubject: a\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    )
    text = b"--b\r\nContent-Type: text/plain\r\n\r\nText\r\n--b\r\n"
    fields = b"Content-Type: application/pdf; name=x.pdf\r\nContent-Transfer-Encoding: base64\r\n"
    body = base64.encodebytes(attachment).replace(b"\n", b"\r\n")
    without = head + text + fields + b"X-Apple-Content-Length: %d\r\n\r\n" % len(body) + b"\r\n--b--\r\n"
    return without, head + text + fields + b"\r\n" + body + b"\r\n--b--\r\n"


@pytest.mark.parametrize("name", ["export.zip", "export.tar", "export.tar.gz"])
def test_apple_mails_attachments_are_put_back_where_they_can_be_had(nursery: Nursery, name: str) -> None:
    attachment = os.urandom(600_000)
    without, whole = partial(attachment)
    files = {
        "Work.mbox/Data/Attachments/7/2/x.pdf": attachment,
        "Work.mbox/Data/Messages/7.partial.emlx": emlx(without, flags=1),
        "Work.mbox/Data/Messages/8.partial.emlx": emlx(without, flags=1),
        "Attachments/7/2/own.eml": mail("of somebody's own"),
    }
    gone = gone_through(nursery, PACKERS[name](files), name)
    first, second, own = gone.whole
    assert own.raw == mail("of somebody's own")
    assert second.raw == without and "1 are missing" in second.event.meta.warnings[0]
    assert not second.event.meta.exact and not first.event.meta.exact
    if name == "export.tar.gz":  # in which nothing can be read again
        assert first.raw == without and first.event.meta.warnings
    else:
        assert first.event.meta.warnings == ()
        message = email.message_from_bytes(first.raw)
        assert message.get_payload()[1].get_payload(decode=True) == attachment
        assert first.raw.replace(b"\r\n", b"") == whole.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    "tail", [b"", b"no list at all", b"<plist><dict><key>flags</key></dict></plist>", b"<!DOCTYPE a ["]
)
def test_apple_mail_with_a_broken_list_comes_all_the_same(nursery: Nursery, tail: bytes) -> None:
    gone = gone_through(nursery, b"%d\n" % len(mail("a")) + mail("a") + tail, "1.emlx")
    assert gone.whole[0].raw == mail("a")


def test_apple_mail_that_was_cut_is_broken(nursery: Nursery) -> None:
    gone = gone_through(nursery, b"9999\n" + mail("a"), "1.emlx")
    assert told(gone) == [("broken", "", "The file ends before the message does.")]


def test_takeout_lies_where_its_labels_say(nursery: Nursery) -> None:
    kept = FROM + b"X-Gmail-Labels: Work/2024,Inbox\n" + mail("a").replace(b"\r\n", b"\n") + b"\n"
    gone = gone_through(
        nursery, zipped({"Takeout/Mail/All mail.mbox": kept, "Takeout/archive_browser.html": b"<"}), "t.zip"
    )
    (event,) = gone.events
    assert isinstance(event, Arriving)
    assert (event.folder, event.role, event.meta.labels) == (("Inbox",), "inbox", (("Work", "2024"),))


# -- what this product has exported


def export(files: dict[str, bytes], rows: list[list[str]]) -> bytes:
    """An export with a manifest."""
    manifest = io.StringIO()
    csv.writer(manifest).writerows([COLUMNS, *rows])
    return zipped(files | {"manifest.csv": manifest.getvalue().encode()})


def row(file: str, raw: bytes) -> list[str]:
    """A line of a manifest."""
    return [file, "id", "2024-01-01T10:00:00+00:00", "s", str(len(raw)), hashlib.sha256(raw).hexdigest(), ""]


def test_own_exports_come_back_to_the_byte(nursery: Nursery) -> None:
    bare = b"From x\nSubject: bare\n\nline ends\n"
    rows = [
        row("2.eml", bare),
        row("1.eml", mail("a")),
        ["", "m17", "", "", "", "", "It is sealed."],
        row("3.eml", b""),
    ]
    gone = gone_through(nursery, export({"1.eml": mail("a"), "2.eml": bare, "4.eml": mail("x")}, rows), "mail.zip")
    assert [one.raw for one in gone.whole] == [bare, mail("a")]
    assert [one.event.meta.received for one in gone.whole] == [1_704_103_200_000_000] * 2
    assert [said[0] for said in told(gone)] == ["mail", "mail", "left", "broken", "left"]
    assert "It is sealed." in told(gone)[2][2]


def test_own_exports_that_were_altered_are_said(nursery: Nursery) -> None:
    gone = gone_through(nursery, export({"1.eml": mail("b")}, [row("1.eml", mail("a"))]), "mail.zip")
    assert gone.whole[0].raw == mail("b")
    assert "SHA-256" in gone.whole[0].event.meta.warnings[0]
    assert not gone.whole[0].event.meta.exact


# -- hostile archives


def test_nothing_is_written_by_a_name(nursery: Nursery, tmp_path: Path) -> None:
    target = tmp_path / "written.eml"
    names = [str(target), "../" * 20 + str(target)[1:], "..\\..\\written.eml", "C:\\written.eml"]
    for raw in (zipped(dict.fromkeys(names, mail("a"))), tarred(dict.fromkeys(names, mail("a")))):
        gone = gone_through(nursery, raw, "x")
        assert len(gone.whole) == len(names)
        assert not any(part in ("..", ".", "") for event in gone.events for part in event.folder)
    assert not target.exists()
    assert not Path("/written.eml").exists()


def test_names_of_any_length_and_sequences_of_any_size_are_bounded(nursery: Nursery) -> None:
    files = {
        "mh/.mh_sequences": b"unseen: 1-999999999 " + b"2-999999998 " * 100_000 + b"\nreplied: 5 x-y -\n",
        "mh/5": mail("a"),
        "x" * 3_000_000 + "/a.eml": mail("b"),
        "x" * 3_000_000 + "/b.eml": mail("c"),
    }
    gone = gone_through(nursery, tarred(files), "x.tar")
    assert [said[2] for said in told(gone)] == ["a", "b", "c"]
    assert gone.came[0].event.meta.flags == ("answered",)
    ids = [event.id for event in gone.events]
    assert len(set(ids)) == 3 and max(map(len, ids)) < 1100


def test_what_changed_while_it_was_packed_is_broken(nursery: Nursery) -> None:
    changed = tarfile.TarInfo("a.eml")
    changed.type, changed.size = CHANGED, 512
    raw = tarred({}, changed=changed)
    raw = raw[:512] + bytes(512) + raw[512:]
    gone = gone_through(nursery, raw, "x.tar")
    assert [said[0] for said in told(gone)] == ["broken"] and "changed" in told(gone)[0][2]


def test_links_and_devices_are_not_followed(nursery: Nursery) -> None:
    links = {}
    for kind, type in (("symbolic", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("device", tarfile.CHRTYPE),
                       ("pipe", tarfile.FIFOTYPE)):  # fmt: skip
        info = tarfile.TarInfo(f"{kind}.eml")
        info.type, info.linkname = type, "/etc/hostname"
        links[kind] = info
    gone = gone_through(nursery, tarred({"a.eml": mail("a")}, **links), "x.tar")
    assert [said[0] for said in told(gone)] == ["mail", "left", "left", "left", "left"]
    assert "/etc/hostname" in told(gone)[1][2]

    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        link = zipfile.ZipInfo("link.eml")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert [said[0] for said in told(gone_through(nursery, held.getvalue(), "x.zip"))] == ["left"]


@pytest.mark.parametrize("packed", [True, False])
def test_bombs_are_stopped(monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    assert unpacking.ALWAYS < 1 << 30
    monkeypatch.setattr(unpacking, "ALWAYS", 1 << 22)
    begun = FROM + b"Subject: a\n\n"
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflate.compress(begun) + b"".join(deflate.compress(bytes(1 << 20)) for _ in range(40)) + deflate.flush()
    zip = _raw_zip([("bomb", body, (40 << 20) + len(begun)), ("b.eml", mail("b"), 0)])
    raw = gzip.compress(begun) + gzip.compress(bytes(1 << 24)) * 3 if packed else zip
    came = 0
    with pytest.raises(FileError, match="times its size"):
        for entry in formats.recognise(raw[:4096], "bomb").read(io.BytesIO(raw), "bomb", Options()):
            assert entry.content is not None
            for piece in entry.content().pieces:
                came += len(piece)
    assert 1 << 20 < came <= max(len(raw) * 250, 1 << 22)


def _raw_zip(members: list[tuple[str, bytes, int]]) -> bytes:
    """A ZIP archive of members that are deflated already, where they have a size."""
    raw, directory = bytearray(), bytearray()
    for name, body, size in members:
        method = 8 if size else 0
        common = struct.pack("<HHHHHIIIHH", 20, 0, method, 0, 33, 0 if size else zlib.crc32(body), len(body),
                             size or len(body), len(name), 0)  # fmt: skip
        directory += b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, len(raw))
        directory += name.encode()
        raw += b"PK\3\4" + common + name.encode() + body
    count = len(members)
    entries = min(count, 0xFFFF)
    end = b""
    if count > entries:  # section 4.3.14
        end = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, len(directory), len(raw))
        end += b"PK\6\7" + struct.pack("<IQI", 0, len(raw) + len(directory), 1)
    end += b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, entries, entries, len(directory), len(raw), 0)
    return bytes(raw + directory + end)


def test_entries_over_one_another_are_refused(nursery: Nursery) -> None:
    raw = bytearray(zipped({"a.eml": mail("a"), "b.eml": mail("b")}))
    second = raw.rfind(b"PK\1\2")
    struct.pack_into("<I", raw, second + 42, 0)
    gone = gone_through(nursery, bytes(raw), "x.zip")
    assert not gone.events and "over one another" in str(gone.error)


def test_archives_in_archives_have_an_end(nursery: Nursery) -> None:
    raw = zipped({"a.eml": mail("a")})
    for depth in range(5):
        raw = zipped({f"{depth}.zip": raw, f"{depth}.eml": mail(str(depth))})
    gone = gone_through(nursery, raw, "x.zip")
    assert [said[0] for said in told(gone)] == ["broken", "mail", "mail", "mail"]
    assert "deep" in told(gone)[0][2]


@pytest.mark.parametrize("name", PACKERS)
def test_archives_that_were_cut_are_said(nursery: Nursery, name: str) -> None:
    raw = PACKERS[name]({f"{number:03}.eml": mail(str(number), os.urandom(500).hex()) for number in range(100)})
    for share in (0.5, 0.95):
        gone = gone_through(nursery, raw[: int(len(raw) * share)], name)
        assert gone.error is not None
        assert str(gone.error)
    gone = gone_through(nursery, raw[:-1024] if name == "export.tar" else raw[:-3], name)
    assert gone.error is not None or len(gone.whole) == 100


def test_a_tar_archive_that_is_damaged_in_the_middle_does_not_end_there_in_silence(nursery: Nursery) -> None:
    raw = bytearray(tarred({f"{number}.eml": mail(str(number)) for number in range(10)}))
    at = raw.find(b"5.eml")
    raw[at : at + 300] = b"\xff" * 300
    gone = gone_through(nursery, bytes(raw), "x.tar")
    assert len(gone.whole) == 5
    assert "damaged behind 4.eml" in str(gone.error)


def test_a_damaged_member_is_broken_and_the_others_come(nursery: Nursery) -> None:
    raw = bytearray(zipped({f"{number}.eml": mail(str(number), "x" * 5000) for number in range(5)}, zipfile.ZIP_STORED))
    at = raw.find(b"Subject: 2") + 100
    raw[at] ^= 1
    gone = gone_through(nursery, bytes(raw), "x.zip")
    assert [said[0] for said in told(gone)] == ["mail", "mail", "broken", "mail", "mail"]


def test_encrypted_archives(nursery: Nursery) -> None:
    raw = _encrypted(mail("a"), b"secret")
    assert "password is needed" in str(gone_through(nursery, raw, "x.zip").error)
    wrong = gone_through(nursery, raw, "x.zip", Options(password="other"))
    assert "does not open" in str(wrong.error)
    right = gone_through(nursery, raw, "x.zip", Options(password="secret"))
    assert [one.raw for one in right.whole] == [mail("a")]


def test_archives_encrypted_with_aes_are_said(nursery: Nursery) -> None:
    raw = bytearray(_raw_zip([("a.eml", bytes(100), 0)]))
    for header, flags, method in ((b"PK\3\4", 6, 8), (b"PK\1\2", 8, 10)):
        at = raw.find(header)
        struct.pack_into("<H", raw, at + flags, 1)
        struct.pack_into("<H", raw, at + method, 99)
    gone = gone_through(nursery, bytes(raw), "x.zip", Options(password="secret"))
    assert "AES" in str(gone.error)


def _encrypted(content: bytes, password: bytes) -> bytes:
    """A ZIP archive of ``a.eml``, encrypted as APPNOTE.TXT section 6.1 has it."""
    keys = [0x12345678, 0x23456789, 0x34567890]

    def crc(value: int, byte: int) -> int:
        return ~zlib.crc32(bytes([byte]), ~value & 0xFFFFFFFF) & 0xFFFFFFFF

    def update(byte: int) -> None:
        keys[0] = crc(keys[0], byte)
        keys[1] = ((keys[1] + (keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = crc(keys[2], keys[1] >> 24)

    for byte in password:
        update(byte)
    sealed = bytearray()
    check = zlib.crc32(content) >> 24
    for byte in bytes(11) + bytes([check]) + content:
        mixed = keys[2] | 2
        sealed.append(byte ^ (mixed * (mixed ^ 1) >> 8) & 0xFF)
        update(byte)
    raw = bytearray(_raw_zip([("a.eml", bytes(sealed), 0)]))
    for header, flags, sum_at in ((b"PK\3\4", 6, 14), (b"PK\1\2", 8, 16)):
        at = raw.find(header)
        struct.pack_into("<H", raw, at + flags, 1)
        struct.pack_into("<III", raw, at + sum_at, zlib.crc32(content), len(sealed), len(content))
    return bytes(raw)


def test_a_hundred_thousand_files(nursery: Nursery) -> None:
    raw = _raw_zip([(f"{number // 1000}/{number}.eml", b"Subject: x\r\n\r\n", 0) for number in range(100_000)])
    gone = gone_through(nursery, raw, "x.zip", skip=99_000)
    assert len(gone.whole) == 1000
    assert gone.error is None


def test_what_is_read_as_a_whole_has_a_limit(nursery: Nursery) -> None:
    zeros = zlib.compressobj(9, zlib.DEFLATED, -15)
    count = unpacking.MOST_IN_MEMORY // (1 << 20) + 1
    body = zeros.compress(b"!BDN") + b"".join(zeros.compress(bytes(1 << 20)) for _ in range(count)) + zeros.flush()
    raw = _raw_zip([("a.pst", body, (count << 20) + 4), ("b.eml", mail("b"), 0)])
    gone = gone_through(nursery, raw, "x.zip")
    assert [said[0] for said in told(gone)] == ["broken", "mail"]
    assert "import it by itself" in told(gone)[0][2]


def test_unknown_files_are_said(nursery: Nursery) -> None:
    for raw, words in (
        (b"", "empty"),
        (bytes(5000), "zeros"),
        (b"%PDF-1.7", "PDF"),
        (b"\xcf\xad\x12\xfe" + bytes(100), "Outlook Express"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"\x89PNG\r\n\x1a\n", "no kind of file"),
        (gzip.compress(b"\x89PNG\r\n\x1a\n"), "no kind of file"),
        (gzip.compress(zipped({"a.eml": mail("a")})), "compressed file of another kind"),
    ):
        gone = gone_through(nursery, raw, "x")
        assert not gone.events and words in str(gone.error)


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_outlooks_files_in_archives_are_as_outside(nursery: Nursery, corpora: Path, name: str) -> None:
    pst = min((corpora / "pst").glob("*.pst"), key=lambda path: path.stat().st_size)
    msg = min((corpora / "msg").glob("*.msg"), key=lambda path: path.stat().st_size)
    pack = PACKERS[name.replace("x", "export")]
    gone = gone_through(
        nursery, pack({"old/anna.pst": pst.read_bytes(), "one.msg": msg.read_bytes()}), name, Options(others=True)
    )
    alone = gone_through(nursery, pst, pst.name, Options(others=True))
    single = gone_through(nursery, msg, msg.name)
    assert gone.error is None and alone.whole and single.whole
    assert [one.raw for one in gone.whole] == [one.raw for one in (*alone.whole, *single.whole)]
    assert [event.folder for event in gone.events[:-1]] == [("old", "anna", *event.folder) for event in alone.events]
    assert gone.events[-1].folder == ()
