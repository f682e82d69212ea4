"""However documents are spread over shards, and wherever those are: the answers are those of one index."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance import sealing
from appliance.errors import UnavailableError
from appliance.index import gather, library, mirror
from appliance.index.mirror import Mirror
from appliance.index.schema import Document
from appliance.index.search import Scope
from appliance.index.shard import shard_of
from tests.unit.index.conftest import EVERYTHING, SHARD, Shelf, document, place_in

WORDS = ("alpha", "beta", "gamma", "delta", "omega", "straße", "rechnung", "linux")
PEOPLE = ("anna", "ben", "carl", "dora")
DAY = 86_400
FIRST = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
COUNT = 240

QUERIES = (
    "*", "alpha", "alpha beta", "alpha OR omega", "-alpha", "alpha -beta", '"alpha beta"', "al*", "subject:gamma",
    "from:person3", "from:example.com linux", "has:attachment", "after:2020-06-01", "alpha before:2020-03-01",
    "after:2020-04-01 before:2020-08-01 beta", "larger:500", "nothing",
)  # fmt: skip
SCOPES = (EVERYTHING, Scope(("anna",), ("anna",)), Scope(("ben", "dora"), ("ben",)), Scope(("zoe",)))


def mail(seed: int) -> list[Document]:
    """Messages of a year and a half, several in one second, some of long before."""
    random_ = random.Random(seed)

    def text(most: int) -> str:
        return " ".join(random_.choice(WORDS) for _ in range(random_.randrange(1, most)))

    made = []
    for number in range(COUNT):
        date = FIRST + number * 2 * DAY + random_.choice((0, 0, 0, -400 * DAY, 5))
        made.append(
            document(
                f"{number:032x}",
                archives=tuple(sorted(random_.sample(PEOPLE, random_.randrange(1, 3)))),
                from_=[f"person{random_.randrange(25)}@example.com"],
                subject=text(4),
                body=text(30),
                attachments=(("list.pdf", text(5)),) if number % 7 == 0 else (),
                date=date - date % (3 * DAY),
                size=random_.randrange(1000),
                message_id=f"m{number}@example.com",
                references=(f"m{random_.randrange(COUNT)}@example.com",) if number % 3 else (),
            )
        )
    return made


@pytest.fixture(scope="module", params=[1, 2], ids=["hot and cold", "all cold, room for one"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shelf, Shelf]]:
    """The same messages in one shard, and in four. Of cold ones the stores are hollow until a hit is shown, as if they
    were large."""
    folder: Path = tmp_path_factory.mktemp("shards")
    cold = request.param == 2
    with pytest.MonkeyPatch.context() as patched:
        if cold:
            for module in (mirror, sealing):
                patched.setattr(module, "BLOCK", 512)
            patched.setattr(mirror, "_LARGE", 1)
        yield from _pair(folder, request.param, cold=cold)


def _pair(folder: Path, seed: int, *, cold: bool) -> Iterator[tuple[Shelf, Shelf]]:
    one = Shelf(place_in(folder / "one"))
    many = Shelf(
        place_in(folder / "many"),
        shard_of=lambda number: 20201 + (number - 1) * 4 // COUNT,
        budget=0 if cold else 2**30,
    )
    documents = mail(seed)
    for shelf in (one, many):
        for start in range(0, COUNT, 40):
            shelf.put(*documents[start : start + 40])
        shelf.put(*documents[::11])  # again, as when somebody is given an address
    if cold:
        many.close_writer()
    yield one, many
    for shelf in (one, many):
        shelf.close()


@pytest.mark.parametrize("text", QUERIES)
def test_many_shards_answer_as_one(pair: tuple[Shelf, Shelf], text: str) -> None:
    one, many = pair
    for scope in SCOPES[:: 1 if many.index.live_bytes() else 2]:
        for sort in ("date", "date-asc", "relevance"):
            for offset, limit in ((7, 20), (0, 500), (COUNT - 5, 10), (10_000, 5), (0, 0)):
                how = {"sort": sort, "offset": offset, "limit": limit}
                assert many.ask(text, scope, **how) == one.ask(text, scope, **how), (scope, how)


def test_pages_put_together_are_the_whole(pair: tuple[Shelf, Shelf]) -> None:
    for shelf in pair:
        for sort in ("date", "relevance"):
            whole = shelf.ids("alpha", sort=sort, limit=500)
            pages = [
                one for start in range(0, 300, 29) for one in shelf.ids("alpha", sort=sort, offset=start, limit=29)
            ]
            assert pages == whole


def test_conversations_and_single_messages_are_found_in_all_shards(pair: tuple[Shelf, Shelf]) -> None:
    one, many = pair
    for scope in SCOPES:
        for number in range(0, COUNT, 47):
            asked = f"m{number}@example.com", (f"m{number + 1}@example.com",)
            assert many.index.thread(*asked, scope) == one.index.thread(*asked, scope)
        ids = tuple(f"{number:032x}" for number in range(0, COUNT + 5, 3))
        assert many.index.documents(ids, scope) == one.index.documents(ids, scope)


def test_the_first_senders_are_exact_where_no_shard_names_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who is second everywhere may be first in all."""
    monkeypatch.setattr(gather, "_SENDERS", 2)
    one = Shelf(place_in(tmp_path / "one"))
    many = Shelf(place_in(tmp_path / "many"), shard_of=lambda number: 20201 + number // 81)
    random_ = random.Random(3)
    documents = [
        document(f"{number}", from_=[f"p{min(random_.randrange(40), random_.randrange(40))}@example.com"])
        for number in range(400)
    ]
    for shelf in (one, many):
        shelf.put(*documents)
    many.close_writer()
    assert many.ask("*").facets == one.ask("*").facets
    assert len(one.ask("*").facets.senders) == 10
    for shelf in (one, many):
        shelf.close()


class _Restores:
    """Counts which shards are brought back from the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shards: list[int] = []
        restore = Mirror.restore

        def counted(mirror: Mirror, shard: int, *rest: object, shown: bool) -> None:
            self.shards.append(shard)
            restore(mirror, shard, *rest, shown=shown)  # type: ignore[arg-type]

        monkeypatch.setattr(library.Mirror, "restore", counted)


@pytest.fixture
def years(tmp_path: Path) -> Iterator[Shelf]:
    """Four quarters of 40 messages each, all cold."""
    shelf = Shelf(place_in(tmp_path), shard_of=lambda number: 20201 + (number - 1) // 40)
    shelf.put(
        *(
            document(
                f"{number}",
                archives=("anna",) if number < 40 else ("ben",),
                body="alpha" if number % 2 else "beta",
                date=FIRST + number * DAY,
                message_id=f"m{number}@x",
            )
            for number in range(160)
        )
    )
    shelf.close_writer()
    yield shelf
    shelf.close()


def test_shards_that_cannot_hold_anything_stay_on_the_disk(years: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    restores = _Restores(monkeypatch)
    assert years.ask("alpha before:2020-01-11").total == 5
    assert restores.shards == [20201]
    assert years.ask("beta", Scope(("anna",))).total == 20
    assert years.index.thread("m7@x", (), EVERYTHING)[0].id == "7"
    assert restores.shards == [20201]
    assert years.index.thread("m77@x", (), EVERYTHING)[0].id == "77"
    assert restores.shards == [20201, 20202]
    assert years.index.thread("unknown@x", (), EVERYTHING) == ()
    assert restores.shards == [20201, 20202]


def test_what_a_cold_shard_answered_is_remembered(years: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    years.index = type(years.index)(years.place, budget=0)
    restores = _Restores(monkeypatch)
    first = years.ask("alpha", limit=10)
    assert sorted(restores.shards) == [20201, 20202, 20203, 20204]
    restores.shards.clear()
    assert years.ask("alpha", limit=10) == first
    assert restores.shards == [20204], "only the newest shard has a hit of the first page"


@pytest.fixture
def thick(tmp_path: Path) -> Iterator[Shelf]:
    """One cold shard whose document store is large: several MiB that do not compress."""
    shelf = Shelf(place_in(tmp_path))
    random_ = random.Random(5)
    shelf.put(
        *(document(f"{number}", subject=f"no {number}", body=random_.randbytes(990).hex()) for number in range(4000))
    )
    shelf.close_writer()
    yield shelf
    shelf.close()


def test_counting_leaves_the_documents_on_the_disk_until_one_is_shown(thick: Shelf) -> None:
    assert thick.ask("*", limit=0).total == 4000
    counting = thick.index.live_bytes()
    assert _taken(thick.place.restored) <= counting
    hits = thick.ask("*", sort="date-asc", limit=500, offset=2000).hits
    shown = thick.index.live_bytes()
    assert counting < shown - 2**22
    assert all(hit.subject == f"no {hit.id}" and len(hit.snippet) > 100 for hit in hits)
    assert thick.ask("subject:17", limit=0).total == 1
    assert thick.index.live_bytes() == shown


def test_a_search_that_counts_goes_on_while_another_brings_the_documents(thick: Shelf) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(thick.ask, f"subject:{number}", limit=number % 2) for number in range(40)]
        assert [one.result().total for one in asked] == [1] * 40
        assert [len(one.result().hits) for one in asked] == [0, 1] * 20


def test_documents_that_are_damaged_are_noticed_when_one_is_shown(thick: Shelf) -> None:
    assert thick.ask("*", limit=0).total == 4000
    found = Mirror(thick.place).manifest(SHARD)
    assert found is not None
    store = max((pack for pack in found.packs if pack.is_shown), key=lambda pack: pack.size)
    with (thick.place.sealed / f"{SHARD:05}" / store.name).open("r+b") as file:
        file.seek(2**20 // 2)
        file.write(b"12345678")
    with pytest.raises(UnavailableError, match="made anew"):
        thick.ask("*")
    thick.open_writer()
    assert thick.writer.reached(SHARD) == 0, "the writer begins it anew"
    assert _taken(thick.place.restored) == 0


def _taken(folder: Path) -> int:
    """Bytes of memory; a file with a hole takes less than its size."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def test_copies_stay_within_the_budget(years: Shelf) -> None:
    years.ask("alpha")
    everything = years.index.live_bytes()
    small = type(years.index)(years.place, budget=everything // 2)
    for text in ("alpha", "beta", "alpha OR beta"):
        small.search(*_asked(text))
        assert small.live_bytes() <= everything // 2
    small.close()


def test_a_search_that_runs_is_not_disturbed_by_another_that_needs_the_room(years: Shelf) -> None:
    from concurrent.futures import ThreadPoolExecutor

    tight = type(years.index)(years.place, budget=0)
    wanted = years.ask("alpha", limit=200)
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(lambda _: tight.search(*_asked("alpha"), limit=200), range(24)):
            assert found == wanted
    tight.close()


def _asked(text: str) -> tuple[object, Scope]:
    from appliance.mail.query import parse
    from tests.unit.index.conftest import TODAY

    return parse(text, today=TODAY), EVERYTHING


@pytest.mark.parametrize(
    ("moment", "shard"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), 20261),
        (datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC), 20261),
        (datetime(2026, 4, 1, tzinfo=UTC), 20262),
        (datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), 20264),
        (datetime(1970, 1, 1, tzinfo=UTC), 19701),
    ],
)
def test_a_record_belongs_to_the_quarter_of_its_id(moment: datetime, shard: int) -> None:
    identity = int(moment.timestamp() * 1000).to_bytes(6) + bytes(10)
    assert shard_of(identity) == shard


def test_an_id_from_beyond_all_years_has_a_shard(tmp_path: Path) -> None:
    assert shard_of(b"\xff" * 16) == 99994


def test_all_hits_come_once_each_shard_opened_once(years: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    from appliance.mail.query import parse
    from tests.unit.index.conftest import TODAY

    years.index = type(years.index)(years.place, budget=0)
    restores = _Restores(monkeypatch)
    found = list(years.index.every(parse("alpha", today=TODAY), EVERYTHING))
    assert found == [f"{number}" for number in range(160) if number % 2]
    assert restores.shards == [20201, 20202, 20203, 20204]
    assert list(years.index.every(parse("beta", today=TODAY), Scope(("anna",)))) == [f"{n}" for n in range(0, 40, 2)]
    assert list(years.index.every(parse("nothing", today=TODAY), EVERYTHING)) == []


def test_a_page_alone_opens_only_the_shards_that_it_needs(years: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    restores = _Restores(monkeypatch)
    assert [hit.id for hit in years.ask("alpha", limit=10, facets=False, counted=False).hits][:2] == ["159", "157"]
    assert restores.shards == [20204]
    assert [one.id for one in years.index.documents(("159", "157"), EVERYTHING)] == ["159", "157"]
    assert 20203 not in restores.shards
