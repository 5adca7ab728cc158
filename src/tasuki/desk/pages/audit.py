"""The page of the last acts."""

from __future__ import annotations

from starlette.responses import Response

from tasuki.app.audit.seeing import ACTION
from tasuki.desk.pages.lists import PAGE
from tasuki.desk.pages.view import View
from tasuki.desk.reading.acts import last_acts
from tasuki.desk.site import AwayError, problem_of
from tasuki.errors import DriverError, PolicyDeniedError
from tasuki.state.audit.ring import MOST


async def audit(view: View) -> Response:
    """Who did what; the newest act first."""
    snapshot = await view.tools.sampler.latest()
    try:
        found, hidden = await last_acts(view.tools.site, view.tools.acts.rights(), view.session.actor)
    except PolicyDeniedError:
        text = view.say("queue.no_right", right=ACTION)
        return view.page("error.html", status=403, snapshot=snapshot, text=text)
    except (DriverError, AwayError) as error:
        return view.page("error.html", status=503, snapshot=snapshot, text=problem_of(error))
    word = view.query.get("q", "").strip().lower()
    rows = [
        each
        for each in found
        if word in f"{each.actor} {each.client} {each.act} {each.target} {each.batch} {each.options}".lower()
    ]
    start = view.number_of("from", MOST)
    return view.page(
        "audit.html",
        snapshot=snapshot,
        rows=rows[start : start + PAGE],
        word=word,
        hidden=hidden,
        count=len(rows),
        start=start,
        page_size=PAGE,
    )
