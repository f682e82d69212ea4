"""What ``mailkeep search`` needs beyond one call of the service: queries that begin with a minus, more than a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from appliance.services import api
from appliance.services.box import RunningBox

if TYPE_CHECKING:
    from appliance.services.own_box import OwnBox


class QueryCommand(click.Command):
    """A command whose argument may begin with a minus, as the query ``-draft`` does.

    A word with one minus that is none of the command's options goes behind ``--``, where click reads no options.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        flags = {
            name: isinstance(param, click.Option) and (param.is_flag or param.count)
            for param in self.get_params(ctx)
            for name in param.opts
        }
        options: list[str] = []
        queries: list[str] = []
        words = iter(args)
        for word in words:
            if word == "--":
                queries += words
            elif word in flags:
                options += [word] if flags[word] else [word, *([value] if (value := next(words, None)) else [])]
            else:
                (queries if word.startswith("-") and not word.startswith("--") else options).append(word)
        return super().parse_args(ctx, [*options, "--", *queries])


def search_pages(box: RunningBox | OwnBox, *, offset: int, limit: int, **asked: Any) -> api.SearchPage:
    """The answer to a search with ``limit`` hits from ``offset`` on, however many pages of the service that is."""
    page: api.SearchPage | None = None
    hits: list[api.Hit] = []
    while page is None or (len(hits) < limit and offset + len(hits) < page.total):
        found = box.call(
            "local_search",
            api.SearchPage,
            offset=offset + len(hits),
            limit=min(limit - len(hits), api.MOST_HITS),
            **asked,
        )
        page = page or found
        hits += found.hits
        if not found.hits:
            break
    return msgspec.structs.replace(page, hits=tuple(hits))
