"""The pages with lists: overview, queues, workers, schedules, topology, acts, and found messages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from heapq import nsmallest

from starlette.responses import RedirectResponse, Response

from tasuki.app.state.auditing import ACTION
from tasuki.desk.acts.auditing import last_acts
from tasuki.desk.dead.rows import GroupRow
from tasuki.desk.pages.letters import Filter, SeenLetters, queues_of_letters
from tasuki.desk.pages.view import PageView
from tasuki.desk.presentation.charts import hour_of
from tasuki.desk.reading.attention import gone_of, in_trouble, notices_of, queue_in
from tasuki.desk.reading.bodies import line
from tasuki.desk.reading.bodies import lines as text_of
from tasuki.desk.reading.message_rows import folded, row_of
from tasuki.desk.reading.records import NEWEST, Lines, events_of, schedules_of, stacks_in
from tasuki.desk.reading.search import ALL, LONGEST, NAMES, PER_QUEUE, SearchQuestion, SearchResult, named
from tasuki.desk.reading.snapshot import COLUMNS, QueueRow, RunningRow, Snapshot
from tasuki.desk.site import AwayError, problem_of
from tasuki.desk.topology import lines_of, picture_of
from tasuki.errors import DriverError, PolicyDeniedError
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.state.audit import MOST
from tasuki.state.worker_record import PRESENCE

PAGE = 50
_MOST_NOTICES = 20
_MOST_RUNNING = 10
_MOST_QUEUES = 8
_MOST_CAUSES = 3
_PATIENCE = 0.5
"""Seconds that the first page waits for dead letters that are being read."""

_MOST_PLACE = 1_000_000


async def overview(view: PageView) -> Response:
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
        rows=_first_queues(snapshot),
        attention=in_trouble(snapshot),
        chart=hour_of(snapshot.lines, snapshot.minute_ends, snapshot.now, is_log=view.query.get("scale") == "log"),
    )


async def _causes(view: PageView, snapshot: Snapshot) -> tuple[list[GroupRow], int]:
    """The largest causes of dead letters that the viewer may see, and how many there are, as far as known by now."""
    seen = SeenLetters(view, snapshot, Filter("cause", "", None))
    read = asyncio.ensure_future(seen.read_groups(queues_of_letters(snapshot)))
    await asyncio.wait([read], timeout=_PATIENCE)
    if not read.done():
        read.cancel()  # the library goes on reading, and the next refresh has it
        return [], 0
    rows = await view.tools.library.rows(seen.windows, "cause", snapshot.now)
    return rows[:_MOST_CAUSES], len(rows)


def _first_queues(snapshot: Snapshot) -> list[QueueRow]:
    """The queues in trouble, then those with the most messages."""
    troubled = in_trouble(snapshot)
    rows = [row for row in snapshot.queues.values() if not row.is_dead_letters]
    return nsmallest(_MOST_QUEUES, rows, key=lambda row: (row.id not in troubled, -row.waiting - row.busy, row.id))


def _longest(snapshot: Snapshot) -> list[tuple[str, RunningRow]]:
    """The handlers that run longest, each with its queue."""
    every = ((row.id, each) for row in snapshot.queues.values() for each in row.handlers[:_MOST_RUNNING])
    return nsmallest(_MOST_RUNNING, every, key=lambda pair: pair[1].message.since)


async def queues(view: PageView) -> Response:
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


async def schedules(view: PageView) -> Response:
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


async def topology(view: PageView) -> Response:
    """The queues whose ids, or whose neighbours' ids, have the word in them; the busiest first."""
    snapshot = await view.tools.sampler.latest()
    word = view.query.get("q", "").strip()
    lines = [
        line
        for line in lines_of(view.tools.site.project, snapshot)
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


async def audit(view: PageView) -> Response:
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


async def find(view: PageView) -> Response:
    """The messages that a question means; without one, how to ask."""
    snapshot = await view.tools.sampler.latest()
    text = view.query.get("q", "").strip()
    question, problem, search = None, "", None
    if text:
        try:
            if len(text) > LONGEST:
                raise ValueError(view.say("find.too_long", n=LONGEST))
            question = SearchQuestion(text)
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


def _denied(view: PageView, search: SearchResult | None) -> int:
    """Queues that the viewer may not look into."""
    return 0 if search is None else sum(not view.may("peek", id) for id in view.tools.site.queues)


_MOST_GONE = 50
_MOST_EVENTS = 200
_READERS = {"events": events_of, "stacks": stacks_in}
"""What a worker is asked for, by the tab."""


async def workers(view: PageView) -> Response:
    """The worker processes on all machines, and what they run."""
    snapshot = await view.tools.sampler.latest()
    start = view.number_of("from", _MOST_PLACE)
    shown: Sequence[object] = snapshot.workers[start : start + PAGE]
    past, ids = view.tools.sampler.past, view.tools.site.ids
    return view.page(
        "workers.html",
        snapshot=snapshot,
        rows=shown,
        gone=gone_of(past.processes, snapshot.workers, snapshot.now, snapshot.lost)[:_MOST_GONE],
        lost_at={each.key: queue for each in snapshot.lost if (queue := queue_in(each, ids))},
        queue_ids=ids,
        count=len(snapshot.workers),
        start=start,
        page_size=PAGE,
    )


async def worker(view: PageView) -> Response:
    """One worker: its consumers, what runs now, and its latest events."""
    snapshot, key = await view.tools.sampler.latest(), PRESENCE + view.path[1]
    found = next((each for each in snapshot.workers if each.key == key), None)
    if found is None:
        return view.page("error.html", status=404, snapshot=snapshot, text=view.say("worker.gone"))
    ids = view.tools.site.ids
    tab = view.query.get("tab", "")
    is_asked = tab in _READERS
    # Events tell ids of messages, so they are for those who may see the messages.
    seen = [each for each in found.consumers if view.may("peek", ids.get((each.driver, each.queue), ""))]
    lines, silent, problem = Lines(), list[str](), ""
    if is_asked and len(seen) < len(found.consumers):
        problem = view.say("queue.no_right", right="queue.admin.peek")
    elif is_asked:
        try:
            lines, silent = await _READERS[tab](view.tools.site, found)
        except (DriverError, AwayError) as error:
            problem = problem_of(error)
    rows = {row.id: row for queue in snapshot.queues.values() for row in queue.consumers}
    return view.page(
        "worker.html",
        snapshot=snapshot,
        worker=found,
        queue_ids=ids,
        consumer_queues={each.id: ids.get((each.driver, each.queue), "") for each in found.consumers},
        consumers=rows,
        is_asked=is_asked,
        stacks=[(consumer, event, folded(text_of(str(event["value"])))) for consumer, event in lines[:_MOST_EVENTS]]
        if tab == "stacks"
        else None,
        lines=lines[:_MOST_EVENTS],
        silent=silent,
        problem=problem,
        newest=NEWEST,
    )
