"""What a source may do to a run: refuse a folder, ask for patience, fail, lose messages, renumber. Nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from appliance.checks import Check
from appliance.errors import RemoteDeniedError, ThrottledError, UnavailableError
from appliance.services.collector import account_run
from appliance.settings.events import ProfilePut
from appliance.sources.base import (
    Account,
    CursorLostError,
    Failed,
    Fetched,
    Folder,
    Item,
    Memory,
    Page,
)
from appliance.store.format import RecordType
from appliance.store.reader import LogReader, RecordRef
from tests.collector import Bench
from tests.scratch import mail

INBOX, WORK = Folder("1", ("Inbox",), "inbox", messages=2), Folder("2", ("Work",), messages=2)


class Scripted:
    """A source with one account, its folders and messages in dictionaries, which does what a test says."""

    def __init__(self) -> None:
        self.mails: dict[str, dict[str, bytes]] = {
            "1": {"a": mail("a"), "b": mail("b")}, "2": {"c": mail("c"), "d": mail("d")},
        }  # fmt: skip
        self.listed: Sequence[Folder] = [INBOX, WORK]
        self.labels: dict[str, tuple[tuple[str, ...], ...]] = {}
        self.changed: list[Item] = []
        self.same: dict[str, str] = {}
        self.fetched: list[str] = []
        self.exact = True
        self.refused: dict[str, str] = {}
        self.trouble: list[Exception] = []
        """Raised one after the other when a folder's changes are asked for."""
        self.opened = 0

    # -- Source -----------------------------------------------------------------------------------------------

    def accounts(self) -> Iterator[Account]:
        yield Account("anna", "anna@example.com")

    def open(self, account: Account) -> Scripted:
        self.opened += 1
        return self

    def check(self, accounts: Sequence[Account]) -> Iterator[Check]:
        yield Check("connection", "ok", "It answers.")

    # -- Session ----------------------------------------------------------------------------------------------

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None: ...

    def folders(self) -> Sequence[Folder]:
        return self.listed

    def changes(self, folder: Folder, cursor: bytes) -> Iterator[Page]:
        if self.trouble:
            raise self.trouble.pop(0)
        known = set(cursor.decode().split())
        items = tuple(
            Item(
                one,
                size=len(raw),
                received=1_700_000_000_000_000,
                labels=self.labels.get(one, ()),
                same=self.same.get(one, ""),
            )
            for one, raw in self.mails[folder.id].items()
            if one not in known
        )
        now = " ".join(self.mails[folder.id]).encode()
        yield Page(items, now, changed=tuple(one for one in self.changed if one.id in known))

    def fetch(self, folder: Folder, items: Sequence[Item]) -> Iterator[Fetched | Failed]:
        for item in items:
            self.fetched.append(item.id)
            if item.id in self.refused:
                yield Failed(item, self.refused[item.id], gone=self.refused[item.id] == "gone")
            else:
                yield Fetched(item, _pieces(self.mails[folder.id][item.id]), exact=self.exact)

    def delete(self, folder: Folder, ids: Sequence[str]) -> frozenset[str]:
        raise AssertionError("nobody has said that anything is to be deleted")


def _pieces(raw: bytes) -> Iterable[bytes]:
    return (raw[start : start + 10] for start in range(0, len(raw), 10))


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    monkeypatch.setattr(account_run, "PAUSES", (0.0, 0.0, 0.0))
    return Scripted()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.tell(ProfilePut("all", "imap"))
    return bench


def opener(source: Scripted) -> Callable[..., Any]:
    def opened(_kind: str, _options: Mapping[str, str], _memory: Memory | None = None) -> Scripted:
        return source

    return opened


def subjects(bench: Bench) -> set[str]:
    return {raw.split(b"Subject: ")[1].split(b"\r\n")[0].decode() for raw in bench.records()[0].values()}


def test_a_message_that_cannot_be_given_is_named_and_tried_again(bench: Bench, source: Scripted) -> None:
    source.refused = {"b": "The server cannot read it.", "d": "gone"}
    with bench.running(opener=opener(source)):
        run = bench.run("all")
        assert (run.state, run.counts.seen, run.counts.new, run.counts.failed) == ("done", 3, 2, 1)
        assert [(one.account, one.folder, one.item, one.why) for one in run.failures] == [
            ("anna", "Inbox", "b", "The server cannot read it.")
        ]
        assert "1 message could not be fetched" in run.words
        source.refused = {}
        again = bench.run("all")
        assert (again.counts.seen, again.counts.new, again.words) == (1, 1, "")
    assert subjects(bench) == {"a", "b", "c"}


def test_a_folder_that_may_not_be_read_keeps_nobody_from_the_others(bench: Bench, source: Scripted) -> None:
    source.trouble = [RemoteDeniedError("No right to read it.")]
    with bench.running(opener=opener(source)):
        run = bench.run("all")
    assert (run.state, run.counts.new, source.opened) == ("failed", 2, 2)
    assert "Inbox: No right to read it." in run.words
    assert subjects(bench) == {"c", "d"}


@pytest.mark.parametrize(
    "trouble",
    [
        UnavailableError("away"),
        ThrottledError("slower", 0.01),
        CursorLostError("other numbers"),
    ],
    ids=["away", "throttled", "renumbered"],
)
def test_trouble_that_passes_is_waited_out(bench: Bench, source: Scripted, trouble: Exception) -> None:
    source.trouble = [trouble] * 3
    with bench.running(opener=opener(source)):
        run = bench.run("all")
    assert (run.state, run.words, run.counts.new) == ("done", "", 4)


def test_trouble_that_stays_ends_the_run_with_its_words(bench: Bench, source: Scripted) -> None:
    source.trouble = [UnavailableError("The server is away.")] * 100
    with bench.running(opener=opener(source)):
        run = bench.run("all")
    assert (run.state, run.words) == ("failed", "anna: The server is away.")
    assert len(source.trouble) == 96


def test_who_was_never_there_is_not_waited_for_long(
    bench: Bench, source: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Account] = []

    def refuse(account: Account) -> Scripted:
        opened.append(account)
        raise UnavailableError("The name is not known.")

    monkeypatch.setattr(source, "open", refuse)
    with bench.running(opener=opener(source)):
        assert bench.run("all").words == "anna: The name is not known."
    assert len(opened) == 2


def test_a_mistake_in_a_source_is_one_accounts_failure(bench: Bench, source: Scripted) -> None:
    source.trouble = [KeyError("a mistake of ours")]
    with bench.running(opener=opener(source)):
        run = bench.run("all")
        assert run.state == "failed"
        assert "the log has the details" in run.words
        assert bench.run("all").counts.new == 4


def test_labels_are_places_and_so_are_those_that_come_later(bench: Bench, source: Scripted) -> None:
    source.labels = {"a": (("Clients", "Smith"),)}
    with bench.running(opener=opener(source)):
        bench.run("all")
        before = bench.archived()
        source.changed = [Item("a", labels=(("Clients", "Smith"), ("Later",))), Item("b", labels=())]
        run = bench.run("all")
        assert (run.counts.seen, run.state) == (0, "done")
        bench.run("all")
    after = bench.archived() - before
    assert sorted(folder for (_archive, folder, _digest) in before if folder[0] == "Clients") == [("Clients", "Smith")]
    assert [(archive, folder) for archive, folder, _digest in after.elements()] == [("anna-id", ("Later",))]


@pytest.fixture
def labelled(source: Scripted) -> Scripted:
    """All of it lies in one folder, and its labels say where else."""
    source.listed = [Folder("1", ("All",), "all", by_labels=True), Folder("2", ("Clients",), holds_mail=False)]
    source.mails["1"] = {one: mail(one) for one in "abcd"}
    source.labels = {"a": (("Clients", "Smith"),), "b": (("Clients",), ("Private",)), "c": (("Other",),)}
    return source


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        ({}, "abcd"),
        ({"include": ("Clients",)}, "ab"),
        ({"include": ("Clients/%",)}, ""),  # there is no such folder yet
        ({"exclude": ("Private", "Other")}, "ad"),
        ({"include": ("Clients",), "exclude": ("Private",)}, "a"),
    ],
)
def test_messages_are_chosen_by_their_labels(
    bench: Bench, labelled: Scripted, patterns: dict[str, Any], wanted: str
) -> None:
    bench.tell(ProfilePut("all", "imap", **patterns))
    with bench.running(opener=opener(labelled)):
        run = bench.run("all")
    assert subjects(bench) == set(wanted) == set(labelled.fetched)
    assert run.counts.seen == (4 if wanted else 0) and run.counts.filtered == run.counts.seen - len(wanted)


def test_who_gets_a_wanted_label_later_or_loses_an_unwanted_one_is_archived_then(
    bench: Bench, labelled: Scripted
) -> None:
    bench.tell(ProfilePut("all", "imap", include=("Clients",), exclude=("Private",)))
    with bench.running(opener=opener(labelled)):
        bench.run("all")
        labelled.changed = [Item("b", labels=(("Clients",),)), Item("c", labels=(("Clients",), ("Other",)))]
        run = bench.run("all")
        assert (run.counts.seen, run.counts.new) == (2, 2)
        assert bench.run("all").counts.seen == 0
        bench.tell(ProfilePut("all", "imap"))
        assert bench.run("all").counts.new == 1
    assert subjects(bench) == set("abcd")
    assert {folder for _archive, folder, _digest in bench.archived()} == {
        ("All",), ("Clients", "Smith"), ("Clients",), ("Other",)
    }  # fmt: skip


def test_a_message_that_could_not_be_given_at_first_has_its_labels_all_the_same(
    bench: Bench, labelled: Scripted
) -> None:
    labelled.refused = {"a": "The server cannot read it."}
    with bench.running(opener=opener(labelled)):
        assert bench.run("all").counts.failed == 1
        labelled.refused = {}
        assert bench.run("all").counts.new == 1
    assert ("Clients", "Smith") in {folder for _archive, folder, _digest in bench.archived()}


def test_a_message_that_was_moved_is_not_fetched_again(bench: Bench, source: Scripted) -> None:
    source.same = {"a": "one", "moved": "one"}
    with bench.running(opener=opener(source)):
        bench.run("all")
        del source.mails["1"]["a"]
        source.mails["2"]["moved"] = mail("made anew by the server, with other bytes")
        source.fetched.clear()
        run = bench.run("all")
    assert (run.counts.seen, run.counts.already, source.fetched) == (1, 1, [])
    assert subjects(bench) == {"a", "b", "c", "d"}
    assert {folder for _archive, folder, _digest in bench.archived()} == {("Inbox",), ("Work",)}
    assert sum(bench.archived().values()) == 5


def test_that_no_folder_is_wanted_is_said(bench: Bench, source: Scripted) -> None:
    bench.tell(ProfilePut("all", "imap", include=("Nowhere",)))
    with bench.running(opener=opener(source)):
        run = bench.run("all")
    assert "None of its folders is wanted" in run.accounts[0].words
    assert "None of its folders is wanted" in run.words


def test_what_the_server_made_anew_says_so(bench: Bench, source: Scripted) -> None:
    source.exact = False
    with bench.running(opener=opener(source)):
        bench.run("all")
    reader = LogReader(bench.paths.volumes, bench)
    refs = [ref for volume in reader.volumes() for ref in reader.scan(volume) if isinstance(ref, RecordRef)]
    notes = {reader.read(ref).provenance.note for ref in refs if ref.type == RecordType.MESSAGE}
    assert notes == {"made anew by the server"}


def test_a_message_without_a_byte_is_a_failure(bench: Bench, source: Scripted) -> None:
    source.mails["1"]["a"] = b""
    with bench.running(opener=opener(source)):
        run = bench.run("all")
    assert (run.counts.new, run.counts.failed) == (3, 1)


def test_what_a_source_remembers_is_there_in_the_next_run_and_not_readable(bench: Bench, source: Scripted) -> None:
    seen: list[str] = []

    def opened(_kind: str, _options: Mapping[str, str], memory: Memory | None = None) -> Scripted:
        assert memory is not None
        seen.append(memory.get("token"))
        memory.put("token", "refreshed-and-secret")
        return source

    with bench.running(opener=opened):
        bench.run("all")
        bench.run("all")
    assert seen == ["", "refreshed-and-secret"]
    for file in bench.paths.collecting.iterdir():
        assert b"refreshed-and-secret" not in file.read_bytes()
        assert b"anna@" not in file.read_bytes(), "addresses are nobody's to read"
        assert b"Inbox" not in file.read_bytes()
