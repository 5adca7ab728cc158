"""The page of the last acts."""

from __future__ import annotations

from starlette.responses import Response

from tasuki.desk.pages.lists import PAGE
from tasuki.desk.pages.view import View
from tasuki.desk.reading.acts import last_acts
from tasuki.state.audit.ring import MOST


async def audit(view: View) -> Response:
    """Who did what; the newest act first."""
    snapshot = await view.tools.sampler.latest()
    found = await last_acts(view.tools.site)
    word = view.query.get("q", "").strip().lower()
    rows = [
        each for each in found if word in f"{each.actor} {each.client} {each.act} {each.target} {each.batch}".lower()
    ]
    start = view.number_of("from", MOST)
    return view.page(
        "audit.html",
        snapshot=snapshot,
        rows=rows[start : start + PAGE],
        word=word,
        count=len(rows),
        start=start,
        page_size=PAGE,
    )
