"""The messages of one queue: those that run, that are ready, and that are delayed; or its dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasuki.desk.acts.acts import Order
from tasuki.desk.reading.message_rows import MessageRow, row_of, state_of
from tasuki.desk.reading.messages import DEEPEST, PAGE, peek
from tasuki.desk.reading.snapshot import QueueRow, RunningRow, Snapshot
from tasuki.desk.site import AwayError, problem_of
from tasuki.errors import DriverError, QueueNotFoundError, UnsupportedError
from tasuki.message import Message
from tasuki.top.frame import cells
from tasuki.top.frame.cells import Signs, short_id
from tasuki.top.frame.columns import Cell, Column
from tasuki.top.views.message import MessageView
from tasuki.top.views.view import EDIT, TRY, Key, Row, Table, View, of_selected, order_on, question_on

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.desk.viewer import Viewer

_STYLES = {"running": "ok", "dead": "bad", "retrying": "warn", "delayed": "dim", "waiting": ""}
_WORDS = {"retrying": "retry", "waiting": "ready"}
_UNSEEN = "The driver cannot show messages without receiving them; the counts are in the list of queues."


@dataclass(frozen=True, slots=True)
class _Listed:
    """One message that waits or runs."""

    name: str
    """Its key among the rows."""
    id: str
    state: str
    age: float | None
    text: str
    """What it is about: the error of one that failed, else where it runs, else its body."""
    place: int | None = None
    """Where it waits; None: it runs."""
    tries: int = 0
    priority: int | None = None
    key: str = ""
    type: str = ""
    error: str = ""
    body: str = ""
    """Beside its error."""


def _style_of(shown: _Listed) -> str:
    return _STYLES.get(shown.state, "")


def _plain(number: int | None) -> str:
    return "" if number is None else str(number)


def _read(text: str) -> int | None:
    """The number in a header; None: it is none."""
    return int(text) if text.isdecimal() and text.isascii() else None


class MessagesView(View):
    """A page of messages; the next one follows below the last row."""

    opens = "message"
    columns = (
        Column("state", "STATE", 7, text=lambda shown: _WORDS.get(shown.state, shown.state), style=_style_of),
        Column("id", "ID", 9, text=lambda shown: short_id(shown.id), style="dim", at_most=139),
        Column("name", "ID", 36, style="dim", at_least=140),
        Column("age", "AGE", 6, "age"),
        Column("tries", "FAILED", 6, "some", style="warn"),
        Column("priority", "PRIO", 4, "count", text=lambda shown: _plain(shown.priority), at_least=110),
        Column("key", "KEY", 12, at_least=100),
        Column("type", "TYPE", 16, style="dim", at_least=130),
        Column("text", "ERROR OR BODY", style=lambda shown: "warn" if shown.error else ""),
        Column("body", "BODY", style="dim", at_least=150),
    )
    keys = (
        Key("r", "retry", "send a dead letter back to the queue where it failed", is_for_many=True),
        EDIT,
        TRY,
        Key("D", "delete", "delete a dead letter", is_for_many=True),
        Key("K", "cancel", "cancel a message, also one that runs", is_for_many=True),
        Key("p", "pause queue", "pause the queue; a paused one goes on", asks=""),
        Key("P", "purge", "remove all messages that wait in the queue", asks="name"),
    )

    def __init__(self, queue: str) -> None:
        self.queue = self.crumb = queue
        self._start = 0
        self._has_more = False
        self._row: QueueRow | None = None
        self._kept = True

    async def read(self, reading: Viewer, snapshot: Snapshot) -> Table:
        """See :class:`View`."""
        row = self._row = snapshot.queues.get(self.queue)
        if row is None:
            return Table(empty=(f"Queue {self.queue} is not in the project any more.",))
        self._kept = reading.keeps(self.queue)
        running = [] if self._start else [_running(each) for each in row.handlers]
        if not reading.may("peek", self.queue):
            empty = f"You may not see its messages: no policy allows queue.admin.peek on {self.queue}."
            return Table(running, (empty,))
        try:
            waiting = await self._waiting(reading, row, snapshot)
        except QueueNotFoundError:
            return Table(running, ("This queue does not exist at its broker yet: a worker or a publish makes it.",))
        except UnsupportedError:
            return Table(running, (_UNSEEN,))
        except (DriverError, AwayError) as error:
            return Table(running, (problem_of(error),))
        end = self._start + len(waiting)
        self._has_more = len(waiting) == PAGE and end < DEEPEST
        if not waiting and self._start:
            self._start = max(self._start - PAGE, 0)  # they have gone meanwhile
        total = cells.count(row.waiting, is_estimate=row.depth is not None and row.depth.is_estimate)
        note = f"{self._start + 1:,} … {end:,} of {total} waiting" if waiting else ""
        seen = {each.key for each in waiting}
        rows = [*(each for each in running if each.key not in seen), *waiting]
        empty = "No dead letters." if row.is_dead_letters else "No message waits or runs here."
        return Table(rows, (empty,), note, has_more=self._has_more)

    async def _waiting(self, reading: Viewer, queue: QueueRow, snapshot: Snapshot) -> list[Row]:
        start = self._start

        async def work(live: Assembly) -> list[tuple[Message, MessageRow]]:
            source = live.queues[self.queue]
            found = await peek(source, start, PAGE)
            return [(message, row_of(source, message, at)) for at, message in enumerate(found, start)]

        return [
            self._row_of(message, row, queue, snapshot.now) for message, row in await reading.site.at(self.queue, work)
        ]

    def _row_of(self, message: Message, row: MessageRow, queue: QueueRow, now: float) -> Row:
        state = state_of(queue, message, row.place, False, "")
        since = row.died if state == "dead" else row.published
        about = {name: getattr(row, name) for name in ("place", "key", "type", "error")}
        listed = _Listed(
            name=row.name,
            id=row.id,
            state=state,
            age=None if since is None else max(now - since, 0.0),
            text=row.error or row.body,
            tries=_read(row.attempts) or 0,
            priority=_read(row.priority),
            body=row.body if row.error else "",
            **about,
        )
        return Row(row.name, listed, f"{message.id} {row.key} {row.type} {row.error} {row.body}", bool(row.error))

    def mark(self, row: Row, signs: Signs) -> Cell:
        """See :class:`View`."""
        return (signs.problem, "warn") if row.is_problem else (" ", "")

    def turn(self, step: int) -> bool:
        """See :class:`View`."""
        start = self._start + step * PAGE
        if start < 0 or start == self._start or (step > 0 and not self._has_more):
            return False
        self._start = start
        return True

    def enter(self, row: Row) -> View | None:
        """See :class:`View`."""
        return MessageView(self.queue, row.key, row.value.place or 0)

    def explain(self, row: Row | None) -> View | None:
        """See :class:`View`."""
        return None if row is None else MessageView(self.queue, row.key, row.value.place or 0, is_about_why=True)

    def order(self, key: Key, row: Row | None) -> Order | None:
        """See :class:`View`."""
        if self._row is None or self._row.depth is None:
            return None
        if key.key == "p":
            return Order("pause" if self._row.paused is None else "resume", "queue", self.queue)
        if key.key == "P":
            return Order("purge", "queue", self.queue) if self._row.waiting else None
        if row is None:
            return None
        listed: _Listed = row.value
        state = "running" if listed.place is None else listed.state
        return order_on(key, self.queue, row.key, listed.place or 0, state)

    def orders(self, key: Key, rows: Sequence[Row | None]) -> list[Order]:
        """See :class:`View`."""
        if key.key not in ("r", "D"):
            return super().orders(key, rows)
        dead = [row for row in rows if row is not None and row.value.state == "dead"]
        return of_selected(key, self.queue, [(row.key, row.value.place) for row in dead])

    def question(self, key: Key, orders: Sequence[Order]) -> str:
        """See :class:`View`."""
        return question_on(key, orders, kept=self._kept)


def _running(running: RunningRow) -> Row:
    message = running.message
    where = f"{message.function} on {running.host}:{running.pid}"
    return Row(message.id, _Listed(message.id, message.id, "running", running.ran, where), f"{message.id} {where}")
