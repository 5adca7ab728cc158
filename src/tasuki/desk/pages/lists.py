"""The pages that are lists: overview, queues, schedules."""

from __future__ import annotations

import asyncio
from heapq import nsmallest

from starlette.responses import RedirectResponse, Response

from tasuki.desk.dead.rows import GroupRow
from tasuki.desk.looks.charts import chart_of
from tasuki.desk.pages.dead_letters.letters import Filter, Seen, queues_of_letters
from tasuki.desk.pages.view import View
from tasuki.desk.reading.attention import in_trouble, notices_of
from tasuki.desk.reading.snapshot import COLUMNS, QueueRow, RunningRow, Snapshot
from tasuki.desk.site import problem_of
from tasuki.errors import TasukiError
from tasuki.kinds.entries.schedule import ScheduleConfig

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
    from tasuki.app.schedules.status import ScheduleStatus
    from tasuki.app.schedules.statuses import statuses_seen

    snapshot = await view.tools.sampler.latest()
    site, found, problems = view.tools.site, dict[str, ScheduleStatus](), list[str]()
    for app, ids in site.parts():
        try:
            seen = await site.on(app, statuses_seen)
        except TasukiError as error:
            problems.append(problem_of(error))
            continue
        found |= {status.id: status for status in seen.statuses if status.queue in ids}
        problems += map(problem_of, seen.problems)
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
