"""The page that finds messages: by id, header or body, in all queues at once."""

from __future__ import annotations

from starlette.responses import Response

from tasuki.desk.pages.view import View
from tasuki.desk.reading.bodies import line
from tasuki.desk.reading.listed.finding import ALL, PER_QUEUE, Search, named
from tasuki.desk.reading.listed.question import LONGEST, NAMES, Question
from tasuki.desk.reading.listed.rows import row_of


async def find(view: View) -> Response:
    """The messages that a question means; without one, how to ask."""
    snapshot = await view.tools.sampler.latest()
    text = view.query.get("q", "").strip()
    question, problem, search = None, "", None
    if text:
        try:
            if len(text) > LONGEST:
                raise ValueError(view.say("find.too_long", n=LONGEST))
            question = Question(text)
        except ValueError as error:
            problem = line(error)
    if question is not None:
        search = await view.tools.finder.find(question, snapshot, lambda id: view.may("peek", id))
    queues = view.tools.site.live.queues
    hits = [] if search is None else search.hits
    return view.page(
        "find.html",
        status=400 if problem else 200,
        snapshot=snapshot,
        text=text[:LONGEST],
        problem=problem,
        question=question,
        search=search,
        rows=[(hit.queue, row_of(queues[hit.queue], hit.message, hit.place)) for hit in hits],
        names=list(NAMES),
        cut=named(search.cut) if search else ((), 0),
        unseen=named(search.unseen) if search else ((), 0),
        bounds=(PER_QUEUE, ALL),
        denied=_denied(view, search),
    )


def _denied(view: View, search: Search | None) -> int:
    """Queues that the viewer may not look into."""
    return 0 if search is None else sum(not view.may("peek", id) for id in view.tools.site.queues)
