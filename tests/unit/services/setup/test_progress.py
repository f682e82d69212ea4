"""How far set-up is survives whatever happens, and says whether there is something left to do."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from appliance.errors import StorageError
from appliance.files import Files
from appliance.services.paths import Paths
from appliance.services.setup import is_needed, language
from appliance.services.setup.progress import Listen, Progress, load, save
from appliance.services.setup.steps import ORDER, after, before, first_open, number, steps


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "data")


def test_a_fresh_box_needs_setting_up(paths: Paths) -> None:
    assert is_needed(paths)
    assert first_open(load(paths)) == "language"


def test_an_archive_made_without_set_up_needs_none(paths: Paths) -> None:
    paths.data.mkdir()
    paths.keyring.write_text("{}")
    assert not is_needed(paths)
    assert load(paths).archive == "made"


def test_what_was_remembered_is_there_again(paths: Paths) -> None:
    kept = Progress(language="de", host_name="box.example.com", archive="made", listen=Listen(smtp=("127.0.0.1:2525",)))
    kept = kept.with_done("language").with_done("host").with_done("host")
    save(paths, kept)
    assert load(paths) == kept
    assert kept.done == ("language", "host")
    assert first_open(kept) == "network"
    assert language(paths) == "de"


def test_a_started_set_up_goes_on_until_it_is_finished(paths: Paths) -> None:
    paths.data.mkdir()
    paths.keyring.write_text("{}")
    save(paths, Progress(archive="made"))
    assert is_needed(paths)
    save(paths, Progress(archive="made", finished=True))
    assert not is_needed(paths)


def test_a_file_that_cannot_be_understood_is_a_fresh_start(paths: Paths) -> None:
    paths.setup.write_bytes(b"\0\0\0")
    assert load(paths) == Progress()


def test_a_full_disk_leaves_what_was_remembered_before(paths: Paths) -> None:
    class Full(Files):
        def write(self, *_given: object) -> int:
            raise OSError(28, "No space left on device")

    save(paths, Progress(language="de"))
    with pytest.raises(StorageError, match="make room"):
        save(paths, Progress(language="en"), files=Full())
    assert load(paths).language == "de"


def test_the_language_of_the_environment_counts_before_one_was_chosen(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    assert language(paths) == "en"
    monkeypatch.setenv("LANG", "de_AT.UTF-8")
    assert language(paths) == "de"
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
    assert language(paths) == "en"


def test_every_step_has_its_place() -> None:
    assert tuple(one.id for one in steps()) == ORDER
    assert [number(one) for one in ORDER] == list(range(1, len(ORDER) + 1))
    for one, following in pairwise(ORDER):
        assert after(one) == following
        assert before(following) == one
    assert (before(ORDER[0]), after(ORDER[-1])) == (ORDER[0], ORDER[-1])
    assert all(one.title and one.what.endswith(".") for one in steps())
