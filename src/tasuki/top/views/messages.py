"""The messages of one queue: those that run, that are ready, and that are delayed; or its dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasuki.desk.acts.acts import Order
from tasuki.desk.reading.bodies import line
from tasuki.desk.reading.listed.rows import MessageRow, row_of, state_of
from tasuki.desk.reading.messages import DEEPEST, PAGE, peek
from tasuki.desk.reading.snapshot import QueueRow, RunningRow, Snapshot
from tasuki.desk.site import AwayError, problem_of
from tasuki.errors import DriverError, QueueNotFoundError, UnsupportedError
from tasuki.message import Message
from tasuki.top.frame import amounts
from tasuki.top.frame.columns import Cell, Column
from tasuki.top.frame.styles import Signs
from tasuki.top.views.ids import short_id
from tasuki.top.views.message import MessageView
from tasuki.top.views.questions import of_letters, of_many, of_one, of_selected, of_trial
from tasuki.top.views.view import EDIT, TRY, Key, Row, Table, View

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.desk.viewer import Viewer

_STYLES = {"running": "ok", "dead": "bad", "retrying": "warn", "delayed": "dim", "waiting": ""}
_WORDS = {"retrying": "retry", "waiting": "ready"}
_UNSEEN = "The driver cannot show messages without receiving them; the counts are in the list of queues."


@dataclass(frozen=True, slots=True)
class _Listed:
    """One message: as a row, while it waits, or running, or both."""

    queue: str
    state: str
    age: float | None
    row: MessageRow | None = None
    running: RunningRow | None = None

    @property
    def text(self) -> str:
        """What it is about: the error of one that failed, else where it runs, else its body."""
        if self.row is not None:
            return self.row.error or self.row.body
        assert self.running is not None
        return f"{self.running.message.function} on {self.running.host}:{self.running.pid}"


class MessagesView(View):
    """A page of messages; the next one follows below the last row."""

    opens = "message"
    columns = (
        Column("state", "STATE", 7),
        Column("id", "ID", 9, at_most=139),
        Column("whole", "ID", 36, at_least=140),
        Column("age", "AGE", 6, is_right=True),
        Column("tries", "FAILED", 6, is_right=True),
        Column("priority", "PRIO", 4, is_right=True, at_least=110),
        Column("key", "KEY", 12, at_least=100),
        Column("type", "TYPE", 16, at_least=130),
        Column("text", "ERROR OR BODY"),
        Column("body", "BODY", at_least=150),
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
        self.queue = queue
        self._start = 0
        self._has_more = False
        self._row: QueueRow | None = None
        self._kept = True

    @property
    def crumb(self) -> str:
        """See :class:`View`."""
        return self.queue

    async def read(self, reading: Viewer, snapshot: Snapshot) -> Table:
        """See :class:`View`."""
        row = self._row = snapshot.queues.get(self.queue)
        if row is None:
            return Table(empty=(f"Queue {self.queue} is not in the project any more.",))
        self._kept = reading.keeps(self.queue)
        running = [] if self._start else list(map(self._running(snapshot), row.running))
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
        total = amounts.count(row.waiting, is_estimate=row.depth is not None and row.depth.is_estimate)
        note = f"{self._start + 1:,} … {end:,} of {total} waiting" if waiting else ""
        seen = {each.key for each in waiting}
        rows = [*(each for each in running if each.key not in seen), *waiting]
        empty = "No dead letters." if row.is_dead_letters else "No message waits or runs here."
        return Table(rows, (empty,), note, has_more=self._has_more)

    def _running(self, snapshot: Snapshot) -> Any:
        def row_of(running: RunningRow) -> Row:
            listed = _Listed(self.queue, "running", running.ran, running=running)
            return Row(running.message.id, listed, f"{running.message.id} {listed.text}")

        return row_of

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
        listed = _Listed(self.queue, state, None if since is None else max(now - since, 0.0), row)
        return Row(row.name, listed, f"{message.id} {row.key} {row.type} {row.error} {row.body}", bool(row.error))

    def mark(self, row: Row, signs: Signs) -> Cell:
        """See :class:`View`."""
        return (signs.problem, "warn") if row.is_problem else (" ", "")

    def cells(self, row: Row, signs: Signs) -> Sequence[Cell]:
        """See :class:`View`."""
        listed: _Listed = row.value
        found = listed.row
        return [
            (_WORDS.get(listed.state, listed.state), _STYLES.get(listed.state, "")),
            (short_id(found.id if found else row.key), "dim"),
            (line(row.key, 80), "dim"),
            (amounts.age(listed.age), ""),
            (found.attempts if found else "", "warn"),
            (found.priority if found else "", ""),
            (found.key if found else "", ""),
            (found.type if found else "", "dim"),
            (listed.text, "" if found is None or not found.error else "warn"),
            (found.body if found and found.error else "", "dim"),
        ]

    def sorted_by(self, column: str, row: Row) -> Any:
        """See :class:`View`."""
        listed: _Listed = row.value
        found = listed.row
        if column == "age":
            return listed.age or 0.0
        if column in ("tries", "priority"):
            text = (found.attempts if column == "tries" else found.priority) if found else ""
            return int(text) if text.isdecimal() and text.isascii() else 0
        texts = {"state": listed.state, "id": row.key, "whole": row.key, "text": listed.text}
        if found is not None:
            texts |= {"key": found.key, "type": found.type, "body": found.body}
        return texts.get(column, "")

    def turn(self, step: int) -> bool:
        """See :class:`View`."""
        start = self._start + step * PAGE
        if start < 0 or start == self._start or (step > 0 and not self._has_more):
            return False
        self._start = start
        return True

    def enter(self, row: Row) -> View | None:
        """See :class:`View`."""
        return MessageView(self.queue, row.key, self._place(row))

    def explain(self, row: Row | None) -> View | None:
        """See :class:`View`."""
        return None if row is None else MessageView(self.queue, row.key, self._place(row), is_about_why=True)

    def _place(self, row: Row) -> int:
        found: MessageRow | None = row.value.row
        return 0 if found is None else found.place

    def order(self, key: Key, row: Row | None) -> Order | None:
        """See :class:`View`."""
        if self._row is None or self._row.depth is None:
            return None
        if key.key == "p":
            return Order("pause" if self._row.pause is None else "resume", "queue", self.queue)
        if key.key == "P":
            return Order("purge", "queue", self.queue) if self._row.waiting else None
        if row is None:
            return None
        is_dead = row.value.state == "dead"
        if key.does != "act":
            is_there = row.value.row is not None
            return of_one(key, self.queue, row.key, self._place(row), is_dead=is_dead) if is_there else None
        if key.key in ("r", "D"):
            return of_selected(key, self.queue, [(row.key, self._place(row))])[0] if is_dead else None
        return None if is_dead else Order("cancel", "queue", self.queue, row.key, self._place(row))

    def orders(self, key: Key, rows: Sequence[Row | None]) -> list[Order]:
        """See :class:`View`."""
        if key.key not in ("r", "D"):
            return super().orders(key, rows)
        dead = [row for row in rows if row is not None and row.value.state == "dead"]
        return of_selected(key, self.queue, [(row.key, self._place(row)) for row in dead])

    def question(self, key: Key, orders: Sequence[Order]) -> str:
        """See :class:`View`."""
        if key.does == "try":
            return of_trial(orders[0])
        if key.key in ("r", "D"):
            (order,) = orders
            count = 1 if order.bulk is None else len(order.bulk.ids)
            return of_letters(key, count, [self.queue], kept=self._kept)
        return of_many("Cancel", orders, "message")
