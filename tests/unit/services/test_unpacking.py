"""Unpacking to a folder of a remote: what lies there afterwards, begun again, among others' files, with trouble."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from appliance.cloud.rclone import Patience, Rclone
from appliance.errors import ForbiddenError, NotFoundError, UsageError
from appliance.services import api, auditing
from appliance.services.principal import Principal
from appliance.services.replicator import connections
from appliance.services.wire import Call
from tests.importing import Imported, Item
from tests.remotes import Target, local_target, s3_target, webdav_target
from tests.scratch import BOX, ScratchArchive, mail

ANNA = "anna@example.com"
SECONDS = 60.0
WITH_ATTACHMENTS = (
    b"From: ben@example.com\r\nTo: anna@example.com\r\nSubject: Two files: a/b\r\n"
    b"Date: Tue, 31 Mar 2009 11:46:40 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    b"--x\r\nContent-Type: text/plain\r\n\r\nSee there.\r\n"
    b'--x\r\nContent-Type: text/csv; name="sums.csv"\r\nContent-Disposition: attachment; filename="sums.csv"\r\n\r\n'
    b"1,2,3\r\n--x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
    b'Content-Disposition: attachment; filename="../../etc/pa:ss.bin"\r\n\r\nAAEC\r\n--x--\r\n'
)


class Unpacked(Imported):
    """An archive with imported mail, and a remote beside whose replica it is unpacked."""

    def __init__(self, box: ScratchArchive, target: Target) -> None:
        super().__init__(box)
        self.target = target
        self.top = target.folder.parent / "mail"
        """Where it is unpacked to, on disk."""
        config = target.config
        self.call(
            "remote_add", name="there", type=config.type, options=dict(config.options), path=config.path, paused=True
        )

    def unpack(self, *, path: str = "replica/mail", **settings: Any) -> api.JobInfo:
        """An unpacking, to its end."""
        params = {"remote": "there", "path": path, "user": ANNA, **settings}
        job: api.JobInfo = self.box.dispatcher.from_box(Call("unpack_begin", params=params), BOX)
        deadline = time.monotonic() + SECONDS
        while job.finished_at is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
            job = self.box.dispatcher.jobs.get(BOX, id=job.id)
        return job

    def tree(self) -> dict[str, bytes]:
        """What lies there."""
        return {str(one.relative_to(self.top)): one.read_bytes() for one in self.top.rglob("*") if one.is_file()}

    def have(self, *items: Item) -> None:
        """Mail in Anna's archive."""
        with self.collector():
            self.run("anna.pst", items, ANNA)
        self.box.project()


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScratchArchive]:
    impatient = Patience(1, (0.05,))
    monkeypatch.setattr(connections, "Rclone", lambda run: Rclone(run, patience=impatient))
    one = ScratchArchive(tmp_path)
    one.user(ANNA)
    yield one
    one.close()


@pytest.fixture
def unpacked(box: ScratchArchive, tmp_path: Path) -> Iterator[Unpacked]:
    with webdav_target(tmp_path / "far", faults=True) as target:
        yield Unpacked(box, target)


@pytest.mark.parametrize("start", [s3_target, webdav_target])
def test_each_message_lies_in_its_folder_with_its_attachments_under_names_that_do_no_harm(
    box: ScratchArchive, start: Callable[[Path], AbstractContextManager[Target]], tmp_path: Path
) -> None:
    with start(tmp_path / "far") as target:
        unpacked = Unpacked(box, target)
        plain = mail("Hello", "words")
        unpacked.have(
            Item(WITH_ATTACHMENTS, {"folder": ("Inbox", "Projects")}), Item(plain, {"folder": ("Inbox",)})
        )  # fmt: skip
        job = unpacked.unpack()
        assert (job.state, job.done, job.total) == ("done", 2, 2)
        assert job.message == "2 messages: 4 files were written, 0 were there already, 0 messages left out."
        at = f"{ANNA}/Inbox/Projects/2009-03-31 Two files a b"
        assert unpacked.tree() == {
            f"{at}/message.eml": WITH_ATTACHMENTS, f"{at}/sums.csv": b"1,2,3", f"{at}/pa ss.bin": b"\0\1\2",
            f"{ANNA}/Inbox/2026-11-20 Hello/message.eml": plain,
        }  # fmt: skip
        again = unpacked.unpack()
        assert again.message == "2 messages: 0 files were written, 4 were there already, 0 messages left out."
        assert len(unpacked.tree()) == 4


def test_messages_of_the_same_place_lie_beside_each_other_and_others_files_stay_as_they_are(
    unpacked: Unpacked,
) -> None:
    unpacked.have(*(Item(mail("Hello", f"words {number}", message_id=f"{number}@x")) for number in range(9)))
    theirs = unpacked.top / ANNA / "Inbox" / "2026-11-20 Hello" / "message.eml"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"somebody else's")
    time.sleep(0.05)  # the server looks at its folder again
    assert "9 files were written" in unpacked.unpack().message
    first = unpacked.tree()
    assert theirs.read_bytes() == b"somebody else's"
    assert len(first) == 10 and len(set(first.values())) == 10
    for _ in range(2):
        assert "0 files were written, 9 were there already" in unpacked.unpack().message
    assert unpacked.tree() == first, "begun again, in whatever order, it writes nothing twice"


def test_only_what_is_asked_for_is_unpacked(unpacked: Unpacked) -> None:
    unpacked.have(
        Item(mail("One", "apple", message_id="1@x"), {"folder": ("Old",)}),
        Item(mail("Two", "apple", message_id="2@x"), {"folder": ("Old", "2010")}),
        Item(mail("Three", "pear", message_id="3@x"), {"folder": ("Old",)}),
        Item(mail("Four", "apple", message_id="4@x"), {"folder": ("New",)}),
    )
    (tree,) = unpacked.call("local_folders", user=ANNA)
    (old,) = [one.id for one in tree.folders if one.path == ("Old",)]
    unpacked.unpack(query="apple", folder=old, template="{year}/{folder}/{subject}")
    assert sorted(unpacked.tree()) == ["2026/Old/2010/Two/message.eml", "2026/Old/One/message.eml"]


def test_a_cut_network_ends_it_in_words_and_the_next_goes_on(unpacked: Unpacked) -> None:
    unpacked.have(*(Item(mail(f"Number {number}", "words", message_id=f"{number}@x")) for number in range(6)))
    assert unpacked.target.proxy is not None
    unpacked.target.proxy.fault = "cut"
    failed = unpacked.unpack()
    assert failed.state == "failed" and "“there”" in failed.message
    unpacked.target.proxy.fault = "none"
    assert unpacked.unpack().state == "done"
    assert len(unpacked.tree()) == 6
    assert not [name for name in unpacked.tree() if name.endswith(".partial")]


def test_what_is_larger_than_one_call_comes_whole(unpacked: Unpacked) -> None:
    large = mail("Large", "x" * 9_000_000)
    unpacked.have(Item(large))
    unpacked.unpack()
    assert list(unpacked.tree().values()) == [large]


def test_nothing_is_written_into_the_replicas_folder(unpacked: Unpacked, tmp_path: Path) -> None:
    unpacked.have(Item(mail()))
    job = unpacked.unpack(path="Replica/box/mail")
    assert "replica's folder" in job.message and not unpacked.target.objects()
    with local_target(tmp_path) as target:
        unpacked.call("remote_add", name="disk", type="local", path=str(target.folder), paused=True)
        assert "replica's folder" in unpacked.unpack(remote="disk", path="mail").message


def test_what_makes_no_sense_is_refused_at_once(unpacked: Unpacked) -> None:
    for wrong, error in (
        ({"template": "{archive}"}, UsageError), ({"path": "../mail"}, UsageError), ({"remote": "no"}, NotFoundError),
        ({"user": "nobody@example.com"}, NotFoundError), ({"folder": "00" * 16}, NotFoundError),
    ):  # fmt: skip
        with pytest.raises(error):
            unpacked.unpack(**wrong)


def test_it_takes_an_administrator_who_is_an_auditor_and_is_written_down(unpacked: Unpacked) -> None:
    for roles in ({"admin"}, {"auditor"}):
        one = Principal(id="someone", roles=frozenset({"user", *roles}))
        with pytest.raises(ForbiddenError):
            unpacked.box.dispatcher.from_box(
                Call("unpack_begin", params={"remote": "there", "path": "x", "user": ANNA}), one
            )
    unpacked.unpack(reason="The firm is wound up.")
    (line,) = auditing.audit(unpacked.box.archive, BOX, find="unpack").lines
    assert line.what == f"“*” of {ANNA} to there:replica/mail, because: The firm is wound up."
    administrator = Principal(id="boss", roles=frozenset({"user", "admin"}))
    (line,) = auditing.audit(unpacked.box.archive, administrator, find="unpack").lines
    assert line.what == ""
