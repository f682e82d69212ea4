"""``mailkeep folders``: where a person's fetched mail lay; and finding one of these folders by its path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from appliance.cli.output import errors_in_words, say, table, with_json
from appliance.cli.state import State
from appliance.errors import NotFoundError, UsageError
from appliance.services import api
from appliance.services.box import RunningBox

if TYPE_CHECKING:
    from appliance.services.own_box import OwnBox


@click.command()
@click.argument("address")
@with_json
@click.pass_obj
@errors_in_words
def folders(state: State, address: str, as_json: bool) -> None:
    """List the folders in which a person's fetched mail lay. Audited."""
    with state.box() as box:
        found = list(_folders(box, address))
    if as_json:
        return say(
            [{"id": one.id, "path": list(one.path), "role": one.role, "messages": one.messages} for one in found]
        )
    table(("MESSAGES", "FOLDER", "FOR"), ((one.messages, _written(one), one.role) for one in found))
    return None


def folder_id(box: RunningBox | OwnBox, address: str, path: str) -> str:
    """The id of a person's folder, given as ``Projects/2026``. Raises NotFoundError, UsageError without a person."""
    if not address:
        raise UsageError("A folder is one of one person's archive: give --user, too.")
    for one in _folders(box, address):
        if _written(one).casefold() == path.casefold():
            return one.id
    raise NotFoundError(f"{address} has no folder {path}. `mailkeep folders {address}` lists them.")


def _written(one: api.FolderInfo) -> str:
    return "/".join(one.path)


def _folders(box: RunningBox | OwnBox, address: str) -> Iterator[api.FolderInfo]:
    """All of them, each before those that are in it."""
    for tree in box.call("local_folders", tuple[api.FolderTree, ...], user=address):
        yield from _with_those_in(tree.folders)


def _with_those_in(level: tuple[api.FolderInfo, ...]) -> Iterator[api.FolderInfo]:
    for one in level:
        yield one
        yield from _with_those_in(one.children)
