"""The folders of fetched mail beside the search: which trees there are, what of them is unfolded, where one is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from appliance.services import api
from webadmin.portal.place import Place

_ALL_UNFOLDED = 40
"""Folders up to which everything is shown at once."""


@dataclass(frozen=True, slots=True)
class Branches:
    """Trees as a page shows them. ``way`` leads from the top to the chosen folder, which is the last of it.

    ``unfolded`` are the folders of which those in them are on the page: all of a small tree, of a large one those on
    the way. Choosing another unfolds that.
    """

    trees: tuple[api.FolderTree, ...] = ()
    way: tuple[api.FolderInfo, ...] = ()
    unfolded: frozenset[str] = frozenset()


def branches(trees: tuple[api.FolderTree, ...], place: Place) -> Branches:
    """The trees of the mail that ``place`` is about."""
    way = next((way for tree in trees for way in _ways(tree.folders) if way[-1].id == place.folder), ())
    everything = [way[-1] for tree in trees for way in _ways(tree.folders)]
    shown = everything if len(everything) <= _ALL_UNFOLDED else way
    return Branches(trees, way, frozenset(one.id for one in shown if one.children))


def _ways(folders: tuple[api.FolderInfo, ...]) -> Iterator[tuple[api.FolderInfo, ...]]:
    """For each folder the way to it from the top."""
    for one in folders:
        yield (one,)
        for below in _ways(one.children):
            yield (one, *below)
