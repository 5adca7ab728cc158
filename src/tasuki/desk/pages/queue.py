"""The page of one queue, with its tabs and its last hour as CSV, and the page of one message."""

from __future__ import annotations

from typing import Any

from starlette.responses import RedirectResponse, Response

from tasuki.app.explain.rule import Explanation, away_from
from tasuki.dead.editing.undo import UNDO_TIME
from tasuki.desk.acts.messages import edit_made, made_of
from tasuki.desk.pages.view import PageView
from tasuki.desk.presentation import numbers
from tasuki.desk.presentation.charts import heat_of, hour_of, plot_of
from tasuki.desk.reading.asking import HeldMessage, cancelled
from tasuki.desk.reading.bodies import body_of, headers_of, lines
from tasuki.desk.reading.message_rows import attempt_of, folded, held_back, number, row_of, state_of
from tasuki.desk.reading.messages import (
    DEEPEST,
    SEARCHED,
    FoundMessage,
    MessagePage,
    attempts,
    find,
    page_of,
)
from tasuki.desk.reading.recent import QueuePast
from tasuki.desk.reading.records import last_attempts, progress_of
from tasuki.desk.reading.rows import settings_of
from tasuki.desk.reading.snapshot import QueueRow, Snapshot
from tasuki.desk.site import AwayError, problem_of
from tasuki.errors import DriverError, QueueNotFoundError, UnsupportedError
from tasuki.message import DEAD_LETTER_TIME, LAST_ERROR, LAST_ERROR_TIME, LAST_TRACEBACK, ORIGINAL_QUEUE
from tasuki.observe.history import MINUTE, MINUTES, STEP, Span, five_minutes
from tasuki.queues.dead.attempts import AttemptRecord
from tasuki.queues.dead.letter import name_of
from tasuki.queues.queue import Queue

TAB_NAMES = ("waiting", "delayed", "retrying", "running", "history", "settings")


async def queue(view: PageView) -> Response:
    """Counters, who works on it, and its messages by their state."""
    id = view.path[1]
    snapshot = await view.tools.sampler.latest()
    row = snapshot.queues[id]
    tab = view.query.get("tab", "")
    tab = tab if tab in TAB_NAMES else "waiting"
    start = view.number_of("from", DEEPEST)
    page, problem = MessagePage(), ""
    is_listed = tab in ("waiting", "delayed", "retrying")
    if is_listed and not view.may("peek", id):
        problem = view.say("queue.no_right", right="queue.admin.peek")
    elif is_listed:
        page, problem = await _messages(view, row, tab, start)
    live = _queue_of(view, id)
    failed = {} if row.is_dead_letters else await last_attempts(view.tools.site, id, page.messages)
    return view.page(
        "queue.html",
        snapshot=snapshot,
        row=row,
        tab=tab,
        tab_names=TAB_NAMES,
        tab_counts=_counts(row),
        page=page,
        problem=problem,
        rows=[
            row_of(live, message, at, failed.get(message.id), now=snapshot.now)
            for at, message in zip(page.places, page.messages, strict=True)
        ],
        searched=SEARCHED,
        settings=settings_of(view.tools.site, live, id) if tab == "settings" else [],
        can=live.driver.capabilities,
        schedules=_schedules(view, id),
        yet=held_back(row) if tab == "waiting" and not row.is_dead_letters else [],
        past=_history(row.past) if tab == "history" and row.past else None,
        **_pictures(view, row, snapshot.now),
        progress=await progress_of(view.tools.site, row) if tab == "running" and live.policy.result else {},
        lease=live.spec.lease,
        keeps_history=live.driver.capabilities.multi_process is False or view.tools.site.live.state_of(id) is not None,
    )


def _counts(row: QueueRow) -> dict[str, int | None]:
    """Tab → how many messages it has; None: it is not known, or the tab has none."""
    return dict.fromkeys(TAB_NAMES) | {"waiting": row.ready, "delayed": row.delayed, "running": row.running}


def _schedules(view: PageView, queue: str) -> list[str]:
    from tasuki.kinds.entries.schedule import ScheduleConfig

    return [id for id, config in view.tools.site.project.of(ScheduleConfig).items() if config.queue == queue]


async def _messages(view: PageView, row: QueueRow, tab: str, start: int) -> tuple[MessagePage, str]:
    try:
        return await page_of(view.tools.site, row, tab, start), ""
    except UnsupportedError:
        return MessagePage(), view.say("queue.no_peek", driver=row.driver)
    except QueueNotFoundError:
        return MessagePage(), view.say("queue.missing")
    except (DriverError, AwayError) as error:
        return MessagePage(), problem_of(error)


def _queue_of(view: PageView, id: str) -> Queue:
    return view.tools.site.live.queues[id]


async def message(view: PageView) -> Response:
    """One message: why it is where it is, its body and its headers."""
    id, message_id = view.path[1], view.path[2]
    snapshot = await view.tools.sampler.latest()
    row = snapshot.queues[id]
    live = _queue_of(view, id)
    if not view.may("peek", id):
        return _no_right(view, snapshot)
    letters = row.dead_letters if row.dead_letters and view.may("peek", row.dead_letters) else ""
    site = view.tools.site
    try:
        found = await find(site, id, message_id, view.number_of("at", DEEPEST))
    except (DriverError, AwayError) as error:
        return view.page("error.html", status=503, snapshot=snapshot, text=problem_of(error))
    message_id, shown = found.id, found.message
    if shown is None and (moved := await _edited_away(view, row, message_id)) is not None:
        return moved
    failures, unseen = await attempts(site, id, message_id, shown)
    told = await _told(view, id, found, letters)
    running = [each for each in row.handlers if each.message.id == message_id]
    held = await view.tools.held.look(id, running[0]) if running and shown is None else None
    edit = await _edit(view, row, message_id)
    is_known = shown or running or found.status or told.found or edit["edited"]
    return view.page(
        "message.html",
        status=200 if is_known else 404,
        **edit,
        letters=letters if any(each.code == "dead" for each in told.causes) else "",
        snapshot=snapshot,
        row=row,
        id=message_id,
        found=found,
        running=running,
        cancel=await cancelled(site, id, message_id) if running else None,
        state=state_of(row, found.message, found.place, bool(running), found.status),
        **_content(live, found, held, failures, is_letter=row.is_dead_letters, now=snapshot.now),
        attempts=[attempt_of(record) for record in reversed(failures)],
        why=[each for each in told.causes if not (edit["edited"] and each.code == "no such message")],
        unseen=unseen,
        can=live.driver.capabilities,
    )


def _no_right(view: PageView, snapshot: Snapshot) -> Response:
    return view.page(
        "error.html", status=403, snapshot=snapshot, text=view.say("queue.no_right", right="queue.admin.peek")
    )


async def _edited_away(view: PageView, row: QueueRow, letter: str) -> Response | None:
    """To the page of the message that an edit made of this letter; None: no edit did, or only a part is asked for."""
    if not row.is_dead_letters or view.is_fragment:
        return None
    to, made = await made_of(view.tools.site, row.id, letter)
    return (
        RedirectResponse(view.url("messages", to, made, edited=row.id), 303) if to in view.tools.site.queues else None
    )


async def _told(view: PageView, queue: str, found: FoundMessage, letters: str) -> Explanation:
    """Why the message is where it is, or that its broker is not there to say it."""
    try:
        return await view.tools.asked.explained(queue, found.id, found, letters)
    except (DriverError, AwayError) as error:
        return Explanation(found.id, queue, None, [away_from(queue, error)])


async def _edit(view: PageView, row: QueueRow, id: str) -> dict[str, Any]:
    """The edit that made a message, as its page shows it: its record (None: none did), and its dead-letter queue."""
    dead = view.query.get("edited", "") or row.dead_letters
    if dead not in view.tools.site.queues or not view.may("peek", dead):
        return {"edited": None}
    return {"edited": await edit_made(view.tools.site, dead, id), "edited_in": dead, "undo_time": UNDO_TIME}


def _content(
    live: Queue,
    found: FoundMessage,
    held: HeldMessage | None,
    failures: list[AttemptRecord],
    *,
    is_letter: bool,
    now: float,
) -> dict[str, Any]:
    """The message itself, as its page shows it, and the name by which acts on it take no other one of its id.

    ``held``: what the worker of a running one tells; ``failures``: its failed attempts, the last one as lists read it.
    """
    seen = {"held": held, "stack": folded(lines(held.stack)) if held is not None else []}
    shown = found.message if held is None else held.message
    if shown is None:
        nothing = dict.fromkeys(("shown", "failed", "body"))
        return {**seen, **nothing, "name": found.id, "headers": [], "origin": "", "error": "", "traceback": ""}
    headers = shown.headers
    return {
        **seen,
        "shown": row_of(live, shown, found.place, failures[-1] if failures and not is_letter else None, now=now),
        "name": name_of(shown) if is_letter else found.id,
        "failed": number(headers.get(LAST_ERROR_TIME, headers.get(DEAD_LETTER_TIME))),
        "origin": str(headers.get(ORIGINAL_QUEUE, "")),
        "error": lines(headers.get(LAST_ERROR, "")),
        "traceback": lines(headers.get(LAST_TRACEBACK, "")),
        "body": body_of(live, shown) if held is None else held.body_in(live),
        "headers": headers_of(shown),
    }


_COLUMNS = "start,published,done,failed,dead,ready,wait_p50,wait_p95,wait_p99,run_p50,run_p95,run_p99"


def _history(past: QueuePast) -> dict[str, Any]:
    """The tab: the last five minutes in steps, and the hour in spans."""
    steps = past.hour.steps(past.newest)
    lines = {name: [step[at] for step in steps] for at, name in enumerate(("published", "done", "failed"))}
    start = (past.newest + 1) * MINUTE - len(steps) * STEP
    shown = plot_of(lines, start, STEP) if any(map(any, steps)) else None
    return {"steps": shown, "spans": five_minutes(past.hour, past.newest)}


def _pictures(view: PageView, row: QueueRow, now: float) -> dict[str, Any]:
    """The hour of a queue, and how long its messages waited or ran."""
    past = row.past
    timed = "wait" if view.query.get("heat") == "wait" else "run"
    if past is None:
        return {"chart": None, "heat": None, "timed": timed}
    ends = (past.newest + 1) * MINUTE
    chart = hour_of(past.lines, ends, now, is_log=view.query.get("scale") == "log")
    return {"chart": chart, "heat": heat_of(past, timed), "timed": timed}


async def csv(view: PageView) -> Response:
    """Sixty lines, one a minute; times of people in UTC, durations in seconds."""
    id = view.path[1]
    row = (await view.tools.sampler.latest()).queues[id]
    lines = [_COLUMNS]
    if (past := row.past) is not None:
        lines += [_line(past.hour.span(minute, minute)) for minute in range(past.newest - MINUTES + 1, past.newest + 1)]
    name = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in id)[:100]
    headers = {"content-disposition": f'attachment; filename="{name}-history.csv"', "cache-control": "no-store"}
    return Response("\r\n".join(lines) + "\r\n", headers=headers, media_type="text/csv; charset=utf-8")


def _line(span: Span) -> str:
    seconds = ["" if value is None else f"{value:.6g}" for value in (*span.wait, *span.run)]
    counts = [str(each) for each in (span.published, span.done, span.failed, span.dead)]
    return ",".join([numbers.iso(span.at), *counts, "" if span.ready is None else str(span.ready), *seconds])
