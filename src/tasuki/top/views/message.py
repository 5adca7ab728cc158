"""One message: the error first, then why it is where it is, its body and its headers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tasuki.app.dry_run.report import WARNING, DryRun
from tasuki.app.explain.rule import Explanation
from tasuki.desk.acts.acts import Order
from tasuki.desk.api.answers import ShownBody
from tasuki.desk.presentation import numbers
from tasuki.desk.presentation.words import tell
from tasuki.desk.reading.bodies import body_of, headers_of, line, lines
from tasuki.desk.reading.message_rows import MessageRow, number, row_of, state_of
from tasuki.desk.reading.messages import FoundMessage, attempts, find
from tasuki.desk.reading.snapshot import QueueRow, RunningRow, Snapshot
from tasuki.desk.site import AwayError, problem_of
from tasuki.errors import DriverError
from tasuki.message import DEAD_LETTER_TIME, LAST_ERROR, LAST_ERROR_TIME, LAST_TRACEBACK, ORIGINAL_QUEUE
from tasuki.observe.plain import escape
from tasuki.queues.dead.attempts import AttemptRecord
from tasuki.top.frame import cells
from tasuki.top.frame.cells import Line
from tasuki.top.views.view import EDIT, TRY, Key, Row, Text, View, order_on, question_on

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.desk.viewer import Viewer


class MessageView(View):
    """A text; the report of the workers on the message follows with the next refresh."""

    keys = (
        Key("r", "retry", "send a dead letter back to the queue where it failed"),
        EDIT,
        TRY,
        Key("D", "delete", "delete a dead letter"),
        Key("K", "cancel", "cancel the message, also if it runs"),
    )

    def __init__(self, queue: str, id: str, place: int, *, is_about_why: bool = False) -> None:
        self.queue, self.id, self.crumb = queue, id, line(id, 80)
        self.goes_to = "why" if is_about_why else ""
        self._place = place
        self._state = ""
        self._kept = True

    async def read(self, reading: Viewer, snapshot: Snapshot) -> Text:
        """See :class:`View`."""
        row = snapshot.queues.get(self.queue)
        if row is None:
            return _only(f"Queue {self.queue} is not in the project any more.")
        self._kept = reading.keeps(self.queue)
        if not reading.may("peek", self.queue):
            return _only(f"You may not see it: no policy allows queue.admin.peek on {self.queue}.")
        try:
            found = await find(reading.site, self.queue, self.id, self._place)
            if found.message is not None:
                self._place = found.place
            letters = row.dead_letters if row.dead_letters and reading.may("peek", row.dead_letters) else ""
            told = await reading.asked.explained(self.queue, found.id, found, letters)
            return text_of(await self._shown(reading, row, found, told), snapshot.now)
        except (DriverError, AwayError) as error:
            return _only(problem_of(error))

    async def _shown(self, reading: Viewer, row: QueueRow, found: FoundMessage, told: Explanation) -> ShownMessage:
        running = [each for each in row.handlers if each.message.id == found.id]
        self._state = state_of(row, found.message, found.place, bool(running), found.status)
        failed, _ = await attempts(reading.site, self.queue, found.id, found.message)
        shown = ShownMessage(self.id, self.queue, self._state, running, found, told, failed)
        message = found.message
        if message is None:
            return shown

        async def work(live: Assembly) -> ShownMessage:
            source = live.queues[self.queue]
            return shown.of(row_of(source, message, found.place), body_of(source, message))

        return await reading.site.at(self.queue, work)

    def explain(self, row: Row | None) -> View | None:
        """See :class:`View`."""
        return self

    def copied(self, row: Row | None) -> str:
        """See :class:`View`."""
        return self.id

    def order(self, key: Key, row: Row | None) -> Order | None:
        """See :class:`View`."""
        is_there = self._state in ("waiting", "delayed", "retrying", "running", "dead")
        return order_on(key, self.queue, self.id, self._place, self._state) if is_there else None

    def question(self, key: Key, orders: Sequence[Order]) -> str:
        """See :class:`View`."""
        return question_on(key, orders, kept=self._kept)


def _only(text: str) -> Text:
    return Text([[(text, "warn")]])


_LABEL = 12
"""Cells of what stands before a value."""

_STYLES = {"running": "ok", "dead": "bad", "retrying": "warn", "done": "ok", "failed": "bad"}


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """All that is known of a message; ``row`` and ``body`` while it waits."""

    id: str
    queue: str
    state: str
    running: Sequence[RunningRow]
    found: FoundMessage
    told: Explanation
    attempts: Sequence[AttemptRecord] = ()
    """The failed ones, oldest first."""
    row: MessageRow | None = None
    body: ShownBody | None = None

    def of(self, row: MessageRow, body: ShownBody) -> ShownMessage:
        """The same with what it holds."""
        return replace(self, row=row, body=body)


def text_of(shown: ShownMessage, now: float) -> Text:
    """All of it."""
    state = tell("en", f"state.{shown.state}", {})
    head: list[Line] = [[(line(shown.id, 512), "bold"), ("  ", ""), (state, _STYLES.get(shown.state, "accent"))]]
    head += _error(shown, now)
    anchor = len(head) + 1
    parts = (
        _why(shown),
        _running(shown, now),
        _facts(shown, now),
        _attempts(shown, now),
        _body(shown),
        _headers(shown),
    )
    return Text([*head, *(each for part in parts for each in part)], anchors={"why": anchor})


def _error(shown: ShownMessage, now: float) -> Iterator[Line]:
    if (message := shown.found.message) is None:
        return
    headers = message.headers
    error = _split(headers.get(LAST_ERROR, ""))
    if not error:
        return
    failed = number(headers.get(LAST_ERROR_TIME, headers.get(DEAD_LETTER_TIME)))
    yield from heading("Last error", "" if failed is None else f"{cells.age(now - failed)} ago")
    yield from ([(text, "bad")] for text in error)
    if traceback := _split(headers.get(LAST_TRACEBACK, "")):
        yield []
        yield from ([(text, "dim" if text.startswith("    ") else "")] for text in traceback)


def _split(text: object) -> list[str]:
    return [each.expandtabs(4) for each in lines(text).splitlines()]


def _why(shown: ShownMessage) -> Iterator[Line]:
    yield from heading("Why it does not run now")
    for cause in shown.told.causes:
        yield pair(cause.code, escape(cause.text), "warn" if cause.code != "running" else "ok")
        if cause.act:
            yield pair("", escape(cause.act), "dim")


def _running(shown: ShownMessage, now: float) -> Iterator[Line]:
    if not shown.running and shown.found.progress is None:
        return
    yield from heading("Runs")
    for each in shown.running:
        yield pair("function", line(each.message.function), "ok")
        yield pair("worker", line(f"{each.host}:{each.pid}"))
        yield pair("for", cells.age(each.ran))
    if (progress := shown.found.progress) is not None:
        total = "" if progress.total is None else f" of {progress.total:g}"
        yield pair("progress", line(f"{progress.done:g}{total} {progress.note}".strip()))


def _facts(shown: ShownMessage, now: float) -> Iterator[Line]:
    if (row := shown.row) is None or shown.found.message is None:
        return
    yield from heading("Message")
    origin = str(shown.found.message.headers.get(ORIGINAL_QUEUE, ""))
    when = {"published": row.published, "died": row.died}
    for name, time in when.items():
        if time is not None:
            yield pair(name, f"{cells.at(time)}, {cells.age(now - time)} ago")
    facts = {
        "failed in": line(origin), "reason": row.reason, "failures": row.attempts, "type": row.type, "key": row.key,
        "priority": row.priority,
    }  # fmt: skip
    yield from (pair(name, value) for name, value in facts.items() if value)


def _attempts(shown: ShownMessage, now: float) -> Iterator[Line]:
    if not shown.attempts:
        return
    yield from heading("Failed attempts", f"{len(shown.attempts)} of the newest")
    for record in reversed(shown.attempts):
        when = f"{cells.age(max(now - record.at, 0.0))} ago, after {cells.age(record.took)}, on {record.worker}"
        yield pair(f"attempt {record.attempt}", line(when))
        yield pair("", line(record.message), "warn")


def _body(shown: ShownMessage) -> Iterator[Line]:
    if (body := shown.body) is None:
        return
    yield from heading("Body", f"{numbers.size(body.size)}, {body.kind}")
    yield from ([(text.expandtabs(4), "")] for text in body.text.splitlines() or [""])
    if body.is_cut:
        yield [("Only the beginning is shown.", "dim")]


def _headers(shown: ShownMessage) -> Iterator[Line]:
    if shown.found.message is None:
        return
    yield from heading("Headers")
    yield from (pair(name, value) for name, value in headers_of(shown.found.message))


def heading(text: str, about: str = "") -> Iterator[Line]:
    """A blank line, and a title."""
    yield []
    yield [(text, "accent"), (f"  {about}" if about else "", "dim")]


def pair(name: str, value: str, style: str = "") -> Line:
    """A name and its value."""
    gap = " " * max(_LABEL - len(name), 1)
    return [(name + gap, "dim"), (value, style)]


class TrialView(View):
    """A text that does not change."""

    crumb = "dry run"
    period = 3600.0

    def __init__(self, report: DryRun) -> None:
        self._report = report

    async def read(self, reading: Viewer, snapshot: Snapshot) -> Text:
        """See :class:`View`."""
        return Text(list(_lines(self._report)))

    def copied(self, row: Row | None) -> str:
        """See :class:`View`."""
        return self._report.message


def _lines(report: DryRun) -> Iterator[Line]:
    took = "" if report.seconds is None else f" after {cells.age(report.seconds)}"
    yield [(f"Dry run: {report.outcome}{took}", "ok" if report.is_good else "bad"), ("  nothing was changed", "dim")]
    yield [(WARNING, "dim")]
    yield pair("function", line(f"{report.function} of {report.consumer}"))
    if report.error:
        yield from heading("Error")
        yield from ([(each, "bad")] for each in lines(report.error).splitlines())
        yield from ([(each.expandtabs(4), "dim")] for each in lines(report.traceback).splitlines())
    if report.effects:
        yield from heading("It would have")
        for effect in report.effects:
            rest = ", ".join(f"{name} {value}" for name, value in effect.items() if name != "do")
            yield pair(line(effect["do"], 40), line(rest, 500))
    for title, texts in (
        ("Log", [f"{each.get('level')} {each.get('text')}" for each in report.logs]),
        ("Output", lines(report.output).splitlines()),
        ("Errors", lines(report.errors).splitlines()),
        ("Warnings", report.warnings),
    ):
        if texts:
            yield from heading(title)
            yield from ([(line(each, 1000), "")] for each in texts)
