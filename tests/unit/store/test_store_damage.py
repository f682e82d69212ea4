"""Rot, cuts and forgery: found, named by file and offset, never skipped in silence and never cut off."""

from __future__ import annotations

import random
import shutil

import msgspec
import pytest
import zstandard

from appliance.errors import ConflictError, DamageError, LockedError
from appliance.files import FILES
from appliance.keys.keyring import Argon2, Keyring
from appliance.store.format import HEADER_SIZE, MARKER_SIZE, RECORD_HEADER_SIZE, footer_size, parse_footer
from appliance.store.reader import Damage, RecordRef
from appliance.store.record import RecordSealer
from appliance.store.seal import Chain, sign_volume, waiting
from appliance.store.verify import verify
from appliance.store.volume import ActiveVolume, HeaderChain, VolumeKey


def chain_of(archive, keyring=None):
    key = keyring or archive.keyring
    return Chain.load(archive.volumes, archive_id=key.archive_id, verify_key=key.verify_key)


def sign_all(archive):
    chain = chain_of(archive)
    return [sign_volume(archive.volumes, path, chain, archive.keyring) for path in waiting(archive.volumes, chain)]


def fill(archive, originals, **options):
    writer = archive.writer(**options)
    refs = [archive.append(writer, original) for original in originals]
    writer.close()
    return refs


def flip(path, offset, bit=0):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


def unclosed(archive, originals):
    """A volume whose writer died: no footer, and nobody holds it."""
    fill(archive, originals)
    path = archive.path()
    data = path.read_bytes()
    path.write_bytes(data[: -footer_size(len(originals))])
    return path


ORIGINALS = [b"first" * 20, b"second" * 30, b"third" * 40]


@pytest.mark.parametrize("sealed", [False, True])
def test_a_flipped_bit_in_any_region_is_found(archive, sealed):
    refs = fill(archive, ORIGINALS)
    if sealed:
        sign_all(archive)
    path = archive.path()
    size = path.stat().st_size
    footer = size - footer_size(3)
    second = refs[1]
    regions = {
        "magic": (0, 0), "header": (60, 0), "sealed key": (700, 0), "header's checksum": (HEADER_SIZE - 1, 0),
        "marker": (second.offset - 10, second.offset - MARKER_SIZE),
        "record header": (second.offset + 20, second.offset),
        "record magic": (second.offset + 1, second.offset),
        "frame length": (second.offset + RECORD_HEADER_SIZE + 3, second.offset),
        "nonce": (second.offset + RECORD_HEADER_SIZE + 9, second.offset),
        "ciphertext": (second.offset + RECORD_HEADER_SIZE + 40, second.offset),
        "leaf": (second.end - 40, second.offset), "length": (second.end - 5, second.offset),
        "record's checksum": (second.end - 1, second.offset), "footer magic": (footer + 1, footer),
        "index": (footer + 30, footer), "root": (size - 60, footer), "end": (size - 1, footer),
    }  # fmt: skip
    whole = path.read_bytes()
    for name, (offset, reported) in regions.items():
        flip(path, offset, bit=3)
        report = verify(archive.volumes, archive.keyring)
        assert (str(path.relative_to(archive.volumes)), reported) in {
            (finding.file, finding.offset) for finding in report.errors
        }, (name, report)
        path.write_bytes(whole)
    assert not archive.verify().errors


def test_any_flipped_bit_is_found_and_the_record_it_hit_is_never_given_out(archive):
    refs = fill(archive, ORIGINALS)
    path = archive.path()
    whole = path.read_bytes()
    chosen = random.Random(7)
    for _ in range(400):
        flip(path, chosen.randrange(len(whole)), chosen.randrange(8))
        assert verify(archive.volumes, archive.keyring).errors
        reader = archive.reader()
        for ref, original in zip(refs, ORIGINALS, strict=True):
            try:
                assert reader.read(ref).original == original
            except DamageError as error:
                assert error.message.startswith(ref.volume)
        path.write_bytes(whole)


def test_damage_in_the_middle_leaves_the_rest_readable(archive):
    refs = fill(archive, ORIGINALS)
    flip(archive.path(), refs[1].offset + 100)
    found = list(archive.reader().scan(refs[0].volume))
    assert [one for one in found if isinstance(one, RecordRef)] == [refs[0], refs[2]]
    (damage,) = [one for one in found if isinstance(one, Damage)]
    assert (damage.offset, damage.length, damage.kind) == (refs[1].offset, refs[1].length, "corruption")
    assert damage.record_id == refs[1].record_id
    (error,) = archive.verify().errors[:1]
    assert (error.offset, error.record_id) == (refs[1].offset, refs[1].record_id)


def test_damage_before_a_later_batch_is_corruption_and_after_the_last_it_is_unknown(archive):
    """A batch marker says that everything before it had been durable."""
    path = unclosed(archive, ORIGINALS)
    refs = list(archive.reader().scan(f"{path.parent.name}/{path.name}"))
    whole = path.read_bytes()
    for ref, kind in zip(refs, ["corruption", "corruption", "unacknowledged"], strict=True):
        flip(path, ref.offset + 90)
        kinds = [one.kind for one in archive.reader().scan(ref.volume) if isinstance(one, Damage)]
        assert kinds == [kind]
        report = archive.verify()
        assert bool(report.errors) == (kind == "corruption")
        if kind == "unacknowledged":
            assert f"unacknowledged or damaged, {ref.length} bytes" in {note.what for note in report.notes}
        path.write_bytes(whole)


def test_a_torn_tail_at_any_byte_costs_only_the_batch_that_was_not_confirmed(archive):
    path = unclosed(archive, ORIGINALS)
    whole = path.read_bytes()
    refs = list(archive.reader().scan(f"{path.parent.name}/{path.name}"))
    for size in range(refs[1].end, len(whole)):
        path.write_bytes(whole[:size])
        found = list(archive.reader().scan(refs[0].volume))
        assert found[:2] == refs[:2]
        rest = found[2:]
        if size in (refs[1].end, refs[1].end + MARKER_SIZE):
            assert not rest
        else:
            (damage,) = rest
            assert (damage.kind, damage.end) == ("unacknowledged", size)
        assert not archive.verify().errors


@pytest.mark.parametrize("filling", [b"\x00", b"\xff"])
def test_a_tail_of_blank_pages_is_not_taken_for_mail(archive, filling):
    """After a power cut a file may be longer than what reached it."""
    path = unclosed(archive, ORIGINALS)
    whole = path.read_bytes()
    refs = list(archive.reader().scan(f"{path.parent.name}/{path.name}"))
    path.write_bytes(whole[: refs[1].end] + filling * 5000)
    found = list(archive.reader().scan(refs[0].volume))
    assert found[:2] == refs[:2]
    assert (found[2].length, found[2].kind) == (5000, "unacknowledged")


def test_whole_records_after_a_hole_in_the_last_batch_count(archive):
    """Pages of one batch reach the disk in any order."""
    writer = archive.writer(threads=1)
    first = archive.append(writer, b"first")
    futures = [writer.append(archive.mailbox, archive.public_key, b"%d" % number * 5000) for number in range(20)]
    refs = [future.result() for future in futures]
    writer.close()
    batch = max(refs, key=lambda ref: ref.offset)
    path = archive.path()
    data = bytearray(path.read_bytes()[: -footer_size(21)])
    hit = sorted(refs, key=lambda ref: ref.offset)[-3]
    data[hit.offset : hit.offset + 50] = bytes(50)
    path.write_bytes(data)
    found = {one for one in archive.reader().scan(first.volume) if isinstance(one, RecordRef)}
    assert found == {first, *refs} - {hit}
    assert batch in found


def test_an_unfinished_volume_that_was_damaged_is_never_cut_or_appended_to(archive):
    path = unclosed(archive, ORIGINALS)
    data = path.read_bytes()[:-30]
    path.write_bytes(data)
    (ref,) = fill(archive, [b"after"])
    assert ref.volume.endswith("g0-00000002.mkv")
    assert path.read_bytes() == data
    assert not archive.verify().errors


def test_seals_are_chained_over_mailboxes_and_writers(archive, keyring):
    fill(archive, ORIGINALS, max_volume=1)
    fill(archive, [b"another writer"], name="g1")
    seals = sign_all(archive)
    assert [seal.number for seal in seals] == [1, 2, 3, 4]
    assert chain_of(archive).head == chain_of(archive).head != bytes(32)
    report = archive.verify()
    assert (report.errors, report.notes, report.sealed) == ((), (), 4)
    assert verify(archive.volumes, Keyring.load(keyring._path)).errors == ()
    with pytest.raises(ConflictError):
        sign_volume(archive.volumes, seals[0].volume, chain_of(archive), archive.keyring)


def test_an_orphan_is_signed_with_its_logical_end_and_may_not_change_after(archive):
    path = unclosed(archive, ORIGINALS)
    torn = path.read_bytes()[:-30]
    path.write_bytes(torn)
    (seal,) = sign_all(archive)
    assert (seal.closed, seal.records) == (False, 2)
    assert seal.logical_end + sum(length for _, length in seal.gaps) == len(torn)
    assert not archive.verify().errors
    path.write_bytes(torn[:-1])
    assert archive.verify().errors
    path.write_bytes(torn)
    flip(path, len(torn) - 1)
    assert archive.verify().errors


def test_a_volume_that_is_being_written_is_not_signed(archive):
    writer = archive.writer()
    archive.append(writer, b"still open")
    assert list(waiting(archive.volumes, chain_of(archive))) == []
    with pytest.raises(ConflictError):
        sign_volume(archive.volumes, archive.reader().volumes()[0].path, chain_of(archive), archive.keyring)
    writer.roll()
    assert len(sign_all(archive)) == 1
    archive.append(writer, b"next")
    assert len(sign_all(archive)) == 0
    writer.close()
    assert len(sign_all(archive)) == 1


def test_a_damaged_volume_is_not_signed_as_if_it_were_whole(archive):
    refs = fill(archive, ORIGINALS)
    for offset in (10, refs[1].offset + 90, archive.path().stat().st_size - 70):
        flip(archive.path(), offset)
        with pytest.raises(DamageError, match=r"g0-00000001\.mkv at"):
            sign_all(archive)
        flip(archive.path(), offset)
    assert len(sign_all(archive)) == 1


def test_what_is_taken_away_is_missed(archive):
    fill(archive, ORIGINALS, max_volume=1)
    sign_all(archive)
    folder = archive.path().parent
    backup = folder.with_name("backup")
    shutil.copytree(folder, backup)
    cases = {
        ("g0-00000002.mkv",): "missing",
        ("g0-00000002.mkv", "g0-00000002.seal"): "missing",
        ("g0-00000002.seal",): "missing",
        ("g0-00000003.mkv",): "missing",
        ("g0-00000001.mkv", "g0-00000001.seal"): "missing",
    }
    shutil.move(backup, archive.volumes.parent / "backup")
    backup = archive.volumes.parent / "backup"
    for names, what in cases.items():
        for name in names:
            (folder / name).unlink()
        assert any(what in error.what for error in archive.verify().errors), names
        for name in names:
            shutil.copy(backup / name, folder / name)
    assert not archive.verify().errors


def test_what_is_exchanged_or_slipped_in_is_noticed(archive, make_archive):
    fill(archive, ORIGINALS, max_volume=1)
    sign_all(archive)
    first, second, third = (archive.path(sequence=number) for number in (1, 2, 3))
    other = make_archive()
    fill(other, [b"forged: sealed to the same public key, by somebody else"])
    wholes = [path.read_bytes() for path in (first, second, third)]
    first.write_bytes(other.path().read_bytes())
    assert archive.verify().errors
    first.write_bytes(wholes[1])
    second.write_bytes(wholes[0])
    assert archive.verify().errors
    first.write_bytes(wholes[0])
    second.write_bytes(wholes[1])
    seal = first.with_suffix(".seal").read_bytes()
    second.with_suffix(".seal").write_bytes(seal)
    assert archive.verify().errors


def test_anothers_seal_counts_for_nothing(archive, tmp_path):
    fill(archive, ORIGINALS)
    stranger, _ = Keyring.create(tmp_path / "stranger.json", passphrase="x", argon2=Argon2(memory=64, passes=1))
    chain = chain_of(archive, stranger)
    sign_volume(archive.volumes, archive.reader().volumes()[0].path, chain, stranger)
    (error,) = archive.verify().errors
    assert error.file.endswith(".seal")


def test_an_altered_seal_is_found(archive):
    fill(archive, ORIGINALS)
    sign_all(archive)
    seal = archive.path().with_suffix(".seal")
    whole = seal.read_bytes()
    seal.write_bytes(whole.replace(b'"records":3', b'"records":2'))
    assert any(error.file.endswith(".seal") for error in archive.verify().errors)
    seal.write_bytes(b"")
    assert any(error.file.endswith(".seal") for error in archive.verify().errors)


def test_a_record_copied_to_another_place_or_volume_does_not_open(archive):
    """The record key binds record and volume; a replayed record is one volume's own, and its index tells."""
    refs = fill(archive, ORIGINALS, max_volume=1)
    first, second = archive.path().read_bytes(), archive.path(sequence=2)
    data = bytearray(second.read_bytes()[: HEADER_SIZE + MARKER_SIZE])
    data += first[refs[0].offset : refs[0].end]
    second.write_bytes(data)
    (ref,) = archive.reader().scan(refs[1].volume)
    with pytest.raises(DamageError, match="does not open"):
        archive.reader().read(ref)
    assert any("does not open" in error.what for error in archive.verify().errors)


def test_files_that_mailkeep_did_not_put_there_are_named(archive):
    fill(archive, ORIGINALS)
    (archive.path().parent / "notes.txt").write_text("x")
    (archive.volumes / "lost+found").mkdir()
    report = archive.verify()
    assert not report.errors
    assert {note.file.split("/")[-1] for note in report.notes if "not put here" in note.what} == {
        "notes.txt",
        "lost+found",
    }


def test_a_locked_archive_is_verified_but_not_deeply(archive, keyring):
    fill(archive, ORIGINALS)
    locked = Keyring.load(keyring._path)
    seen = []
    report = verify(archive.volumes, locked, progress=lambda done, total: seen.append((done, total)))
    assert (report.records, report.volumes, report.errors) == (3, 1, ())
    assert seen == [(0, 1), (1, 1)]
    with pytest.raises(LockedError):
        verify(archive.volumes, locked, deep=True)


def test_a_footer_that_leaves_a_record_out_is_found(archive):
    """Whoever can write the file can also make the checksums fit."""
    fill(archive, ORIGINALS)
    path = archive.path()
    data = path.read_bytes()
    end = len(data) - footer_size(3)
    footer = parse_footer(data[end:], end)
    shorter = msgspec.structs.replace(footer, entries=footer.entries[:2])
    path.write_bytes(data[:end] + shorter.pack())
    (error,) = archive.verify().errors
    assert (error.offset, "footer lists 2 records" in error.what) == (end, True)


def test_a_volume_from_another_history_does_not_fit_the_chain_of_headers(archive, make_archive):
    """Same mailbox, writer and number, whole in itself, not even sealed yet."""
    fill(archive, ORIGINALS, max_volume=1)
    other = make_archive()
    fill(other, [b"another", b"history", b"altogether"], max_volume=1)
    archive.path(sequence=2).write_bytes(other.path(sequence=2).read_bytes())
    errors = archive.verify().errors
    assert [error.file.split("/")[1] for error in errors] == ["g0-00000002.mkv", "g0-00000003.mkv"]
    assert all("not chained" in error.what for error in errors)


def test_a_seal_made_again_does_not_fit_the_chain_of_seals(archive):
    """Even with the signing key nobody exchanges an old seal without making all later ones anew."""
    fill(archive, ORIGINALS, max_volume=1)
    first, *_ = sign_all(archive)
    (archive.volumes / first.volume).with_suffix(".seal").unlink()
    empty = Chain(archive.keyring.archive_id, archive.keyring.verify_key)
    sign_volume(archive.volumes, first.volume, empty, archive.keyring)
    (error,) = archive.verify().errors
    assert "chained" in error.what and error.file.endswith("2.seal")


def test_an_original_that_its_commitment_does_not_name_is_never_given_out(archive):
    """A hostile writer has the volume key: it can encrypt one thing and commit to another."""
    key = VolumeKey.generate()
    chain = HeaderChain(FILES, archive.volumes, archive.mailbox, "g0")
    archive.volumes.mkdir()
    name, descriptor = chain.create(key, archive.public_key)
    volume = ActiveVolume(FILES, name, descriptor)
    sealer = RecordSealer(key.key, key.volume_id, None)
    volume.append([sealer.finish(b"said", zstandard.compress(b"sent"))])
    volume.finish()
    (ref,) = archive.reader().scan(str(name))
    with pytest.raises(DamageError, match="commitment"):
        archive.reader().read(ref)
    with pytest.raises(DamageError, match="commitment"):
        list(archive.reader().stream(ref))
    assert not verify(archive.volumes, archive.keyring).errors
    (error,) = archive.verify().errors
    assert error.record_id == ref.record_id
