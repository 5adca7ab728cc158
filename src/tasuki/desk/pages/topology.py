"""The page of the topology: a picture of the way of the messages, and the same as a table."""

from __future__ import annotations

from starlette.responses import Response

from tasuki.desk.pages.view import View
from tasuki.desk.topology.lines import topology_of
from tasuki.desk.topology.picture import picture_of

PAGE = 30
"""Queues of a picture."""
_MOST_PLACE = 1_000_000


async def topology(view: View) -> Response:
    """The queues whose ids, or whose neighbours' ids, have the word in them; the busiest first."""
    snapshot = await view.tools.sampler.latest()
    word = view.query.get("q", "").strip()
    lines = [
        line
        for line in topology_of(view.tools.site.project, snapshot).lines
        if any(word.lower() in id.lower() for id in line.names)
    ]
    start = view.number_of("from", _MOST_PLACE)
    shown = lines[start : start + PAGE]
    return view.page(
        "topology.html",
        snapshot=snapshot,
        lines=shown,
        picture=picture_of(shown),
        word=word,
        count=len(lines),
        start=start,
        page_size=PAGE,
    )
