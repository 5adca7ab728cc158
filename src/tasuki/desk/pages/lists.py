"""The pages that are lists: overview, queues, schedules, topology, acts, and messages that were found."""

from __future__ import annotations

import asyncio
from heapq import nsmallest

from starlette.responses import RedirectResponse, Response

from tasuki.app.audit.seeing import ACTION
from tasuki.desk.acts.auditing import last_acts
from tasuki.desk.dead.rows import GroupRow
from tasuki.desk.looks.charts import chart_of
from tasuki.desk.pages.dead_letters.letters import Filter, Seen, queues_of_letters
from tasuki.desk.pages.view import View
from tasuki.desk.reading.attention import in_trouble, notices_of
from tasuki.desk.reading.bodies import line
from tasuki.desk.reading.listed.finding import ALL, PER_QUEUE, Search, named
from tasuki.desk.reading.listed.question import LONGEST, NAMES, Question
from tasuki.desk.reading.listed.rows import row_of
from tasuki.desk.reading.observed.records import schedules_of
from tasuki.desk.reading.snapshot import COLUMNS, QueueRow, RunningRow, Snapshot
from tasuki.desk.site import AwayError, problem_of
from tasuki.desk.topology import picture_of, topology_of
from tasuki.errors import DriverError, PolicyDeniedError
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.state.audit import MOST

PAGE = 50
_MOST_NOTICES = 20
_MOST_RUNNING = 10
_MOST_CAUSES = 3
_PATIENCE = 0.5
"""Seconds that the first page waits for dead letters that are being read."""
_MOST_PLACE = 1_000_000


async def overview(view: View) -> Response:
    """The first page: whether messages move, and what needs attention."""
    snapshot = await view.tools.sampler.latest()
    notices = notices_of(snapshot)
    causes, of_causes = await _causes(view, snapshot)
    return view.page(
        "overview.html",
        snapshot=snapshot,
        notices=notices[:_MOST_NOTICES],
        more=len(notices),
        causes=causes,
        more_causes=of_causes - len(causes),
        filter=Filter("cause", "", None),
        running=_longest(snapshot),
        paused=[row for row in snapshot.queues.values() if row.paused],
        chart=chart_of(snapshot.lines),
    )


async def _causes(view: View, snapshot: Snapshot) -> tuple[list[GroupRow], int]:
    """The largest causes of dead letters that the viewer may see, and how many there are, as far as known by now."""
    seen = Seen(view, snapshot, Filter("cause", "", None))
    read = asyncio.ensure_future(seen.read_groups(queues_of_letters(snapshot)))
    await asyncio.wait([read], timeout=_PATIENCE)
    if not read.done():
        read.cancel()  # the library goes on reading, and the next refresh has it
        return [], 0
    rows = await view.tools.library.rows(seen.windows, "cause", snapshot.now)
    return rows[:_MOST_CAUSES], len(rows)


def _longest(snapshot: Snapshot) -> list[tuple[str, RunningRow]]:
    """The handlers that run longest, each with its queue."""
    every = ((row.id, each) for row in snapshot.queues.values() for each in row.handlers[:_MOST_RUNNING])
    return nsmallest(_MOST_RUNNING, every, key=lambda pair: pair[1].message.since)


async def queues(view: View) -> Response:
    """All queues, in pages."""
    snapshot = await view.tools.sampler.latest()
    word = view.query.get("q", "").strip()
    rows = [row for row in snapshot.queues.values() if word.lower() in row.id.lower()]
    if word and not rows and not view.is_fragment:  # the box of the header: it is no queue, so perhaps an id
        return RedirectResponse(view.url("find", q=word), 303)
    sort, is_down = view.query.get("sort", ""), view.query.get("dir") == "down"
    rows = _sorted(rows, snapshot, sort, is_down=is_down)
    start = view.number_of("from", _MOST_PLACE)
    return view.page(
        "queues.html",
        snapshot=snapshot,
        rows=rows[start : start + PAGE],
        count=len(rows),
        start=start,
        page_size=PAGE,
        word=word,
        sort=sort,
        is_down=is_down,
        columns=COLUMNS,
        attention=in_trouble(snapshot),
    )


def _sorted(rows: list[QueueRow], snapshot: Snapshot, sort: str, *, is_down: bool) -> list[QueueRow]:
    for column in COLUMNS:
        if column.name == sort:
            return sorted(sorted(rows, key=lambda row: row.id), key=column.value, reverse=is_down)
    troubled = in_trouble(snapshot)
    return sorted(rows, key=lambda row: (row.id not in troubled, row.id))


async def schedules(view: View) -> Response:
    """The schedules, with their last and next times."""
    snapshot = await view.tools.sampler.latest()
    site = view.tools.site
    found, problems = await schedules_of(site)
    configs = site.project.of(ScheduleConfig)
    unseen = [id for id in configs if id not in found]
    start = view.number_of("from", _MOST_PLACE)
    rows = sorted(found.values(), key=lambda status: status.id)
    return view.page(
        "schedules.html",
        snapshot=snapshot,
        rows=rows[start : start + PAGE],
        unseen=unseen,
        problems=problems,
        count=len(rows),
        start=start,
        page_size=PAGE,
    )


_PICTURE = 30
"""Queues of a picture of the topology."""


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
    shown = lines[start : start + _PICTURE]
    return view.page(
        "topology.html",
        snapshot=snapshot,
        lines=shown,
        picture=picture_of(shown),
        word=word,
        count=len(lines),
        start=start,
        page_size=_PICTURE,
    )


async def audit(view: View) -> Response:
    """Who did what; the newest act first."""
    snapshot = await view.tools.sampler.latest()
    word = view.query.get("q", "").strip().lower()
    try:
        rows, hidden = await last_acts(view.tools.site, view.tools.acts.rights(), view.session.actor, word)
    except PolicyDeniedError:
        text = view.say("queue.no_right", right=ACTION)
        return view.page("error.html", status=403, snapshot=snapshot, text=text)
    except (DriverError, AwayError) as error:
        return view.page("error.html", status=503, snapshot=snapshot, text=problem_of(error))
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
