"""What goes into the log comes out of it, byte for byte, whatever its size."""

from __future__ import annotations

import os
import random
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.errors import DamageError, LockedError, NotFoundError, StorageError, UsageError
from appliance.keys.envelope import MailboxKeyPair
from appliance.mail.facts import Provenance
from appliance.store.format import END_OF_DATA, LARGEST_FRAME, RecordType
from appliance.store.reader import LogReader

FRAME = LARGEST_FRAME - 32 - 4  # of an incompressible original: salt and length of the provenance are in it


def incompressible(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize(
    "size",
    [
        0, 1, 100, FRAME - 1000, FRAME - END_OF_DATA.size - 40, FRAME - END_OF_DATA.size - 30, FRAME - 30, FRAME,
        FRAME + 1, 2 * LARGEST_FRAME - 60, 2 * LARGEST_FRAME, 3 * LARGEST_FRAME,
    ],
)  # fmt: skip
def test_an_original_of_any_number_of_frames_comes_back(archive, size):
    original = incompressible(size)
    provenance = Provenance(received_at=1_700_000_000_000_000, rcpt_to=("journal@archive.example",))
    with archive.writer().stream(archive.mailbox, archive.public_key, provenance) as record:
        record.write(original)
        streamed = record.commit()
    writer = archive.writer("g1")
    appended = writer.append(archive.mailbox, archive.public_key, original, provenance).result()
    writer.close()
    reader = archive.reader()
    for ref in (appended, streamed):
        record = reader.read(ref)
        assert record.original == original
        assert record.provenance == provenance
        assert b"".join(reader.stream(ref)) == original


def test_every_split_of_the_plaintext_at_a_frame_border_opens(archive):
    """Around the border the last frame may hold nothing but its closing twelve bytes."""
    writer = archive.writer()
    originals = [incompressible(LARGEST_FRAME - 100 + extra) for extra in range(0, 100, 3)]
    futures = [writer.append(archive.mailbox, archive.public_key, original) for original in originals]
    reader = archive.reader()
    for future, original in zip(futures, originals, strict=True):
        assert reader.read(future.result()).original == original
    writer.close()
    assert not archive.verify().errors


def test_a_large_message_streams_in_and_out(archive):
    pieces = [os.urandom(1000) * 70 for _ in range(300)]  # 21 MB
    writer = archive.writer()
    before = archive.append(writer, b"before")
    record = writer.stream(archive.mailbox, archive.public_key, Provenance(note="large"))
    for piece in pieces:
        record.write(memoryview(piece))
    during = archive.append(writer, b"during")
    ref = record.commit()
    after = archive.append(writer, b"after")
    writer.close()
    assert before and during and after
    assert before.volume == during.volume == after.volume != ref.volume
    out = archive.reader().stream(ref)
    assert out.provenance.note == "large"
    sizes = [len(piece) for piece in out]
    assert sum(sizes) == 21_000_000
    assert max(sizes) <= 256 * 1024
    assert archive.reader().read(ref).original == b"".join(pieces)
    assert not archive.verify().errors


def test_a_highly_compressible_message_comes_out_in_bounded_pieces(archive):
    """A 100 MB message of one letter is a few kilobytes in the log; reading must not make it one piece."""
    writer = archive.writer()
    with writer.stream(archive.mailbox, archive.public_key) as record:
        for _ in range(100):
            record.write(b"a" * 1_000_000)
        ref = record.commit()
    writer.close()
    assert max(map(len, archive.reader().stream(ref))) <= 256 * 1024


def test_an_aborted_message_leaves_nothing(archive):
    writer = archive.writer()
    with writer.stream(archive.mailbox, archive.public_key) as record:
        record.write(os.urandom(3_000_000))
    ref = archive.append(writer, b"next")
    writer.close()
    assert ref is not None and ref.volume.endswith("g0-00000001.mkv")
    assert [path.name for path in archive.volumes.rglob("*") if path.is_file()] == ["g0-00000001.mkv"]
    with pytest.raises(StorageError):
        record.write(b"too late")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    originals=st.lists(st.binary(max_size=3000), min_size=1, max_size=12),
    max_volume=st.sampled_from([1, 3000, 64 << 20]),
    notes=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30),
)
def test_confirmed_is_readable(make_archive, originals, max_volume, notes):
    archive = make_archive()
    writer = archive.writer(max_volume=max_volume)
    futures = [
        writer.append(archive.mailbox, archive.public_key, original, Provenance(note=notes)) for original in originals
    ]
    refs = [future.result(timeout=30) for future in futures]
    reader = archive.reader()
    for ref, original in zip(refs, originals, strict=True):
        record = reader.read(ref)
        assert (record.original, record.provenance.note, record.ref) == (original, notes, ref)
    scanned = [found for volume in reader.volumes() for found in reader.scan(volume)]
    assert sorted(scanned, key=lambda ref: ref.record_id) == sorted(refs, key=lambda ref: ref.record_id)
    writer.close()
    assert sorted(archive.originals()) == sorted(originals)


def test_many_callers_share_one_log(archive):
    writer = archive.writer(max_volume=200_000)
    refs = {}

    def send(caller):
        for number in range(30):
            original = f"{caller} {number} ".encode() * (number * 20)
            refs[writer.append(archive.mailbox, archive.public_key, original).result()] = original

    threads = [threading.Thread(target=send, args=(caller,)) for caller in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    reader = archive.reader()
    assert len(refs) == 240
    assert all(reader.read(ref).original == original for ref, original in refs.items())
    report = archive.verify()
    assert (report.records, report.errors) == (240, ())


def test_each_mailbox_has_its_own_volumes_and_keys(archive, keyring):
    other = os.urandom(16)
    keyring.create_mailbox(other)
    writer = archive.writer()
    mine = archive.append(writer, b"mine")
    theirs = writer.append(other, keyring.public_key(other), b"theirs").result()
    writer.close()
    assert mine.mailbox == archive.mailbox and theirs.mailbox == other
    assert [volume.path for volume in archive.reader().volumes(other)] == [theirs.volume]


def test_the_record_says_what_it_is(archive):
    writer = archive.writer()
    ref = writer.append(archive.mailbox, archive.public_key, b"{}", type=RecordType.SETTINGS).result()
    writer.close()
    assert ref.type == RecordType.SETTINGS
    assert ref.record_id[6] >> 4 == 7 and ref.record_id[8] >> 6 == 2  # RFC 9562: version 7, variant 10
    assert int.from_bytes(ref.record_id[:6], "big") == ref.time // 1000


def test_a_compressor_level_changes_size_not_content(archive):
    text = b"The quick brown fox jumps over the lazy dog. " * 3000
    lengths = []
    for level in (1, 3):
        writer = archive.writer(f"g{level}", level=level)
        ref = archive.append(writer, text)
        writer.close()
        lengths.append(ref.length)
        assert archive.reader().read(ref).original == text
    assert lengths[0] < len(text) / 10


def test_without_keys_everything_but_opening_works(archive):
    writer = archive.writer()
    ref = archive.append(writer, b"secret words")
    writer.close()
    reader = LogReader(archive.volumes)
    (volume,) = reader.volumes()
    assert volume.closed and not volume.sealed and list(reader.scan(volume)) == [ref]
    with pytest.raises(LockedError):
        reader.read(ref)
    assert b"secret words" not in archive.path().read_bytes()


def test_anothers_key_opens_nothing(archive):
    writer = archive.writer()
    ref = archive.append(writer, b"secret words")
    writer.close()
    stranger = MailboxKeyPair.generate()

    class Stranger:
        def volume_key(self, mailbox_id, sealed, info):
            return stranger.open_sealed(sealed, info)

    with pytest.raises(DamageError, match=r"g0-00000001\.mkv"):
        LogReader(archive.volumes, Stranger()).read(ref)


@pytest.mark.parametrize("path", ["../keyring.json", "x", "/etc/passwd", "00/g0-00000001.mkv"])
def test_a_reader_never_leaves_its_folder(archive, path):
    with pytest.raises(UsageError):
        archive.reader().read(path, 0)


def test_a_record_that_is_not_there_is_damage_and_a_volume_is_not_found(archive):
    writer = archive.writer()
    ref = archive.append(writer, b"one")
    writer.close()
    with pytest.raises(DamageError, match=r"at 1281"):
        archive.reader().read(ref.volume, 1281)
    with pytest.raises(NotFoundError):
        archive.reader().read(ref.volume.replace("g0", "g7"), 1280)
