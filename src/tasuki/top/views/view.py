"""View: what one place of ``tasuki top`` shows, which keys it has beyond the common ones, and what they order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tasuki.dead.batch import KEPT, RATE
from tasuki.desk.acts.acts import Order
from tasuki.desk.acts.bulk import Bulk
from tasuki.desk.reading.bodies import line
from tasuki.top.frame import cells
from tasuki.top.frame.cells import Line
from tasuki.top.frame.columns import Cell, Column

if TYPE_CHECKING:
    from tasuki.desk.reading.snapshot import Snapshot
    from tasuki.desk.viewer import Viewer
    from tasuki.top.frame.cells import Signs

Asks = Literal["", "enter", "name"]
"""What confirms an act: nothing, Enter, or the name of its target and Enter."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``key`` stays the same over refreshes; ``find`` is what a filter is asked about."""

    key: str
    value: Any
    find: str
    is_problem: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows in the view's own order, as one refresh has found them."""

    rows: Sequence[Row] = ()
    empty: Sequence[str] = ()
    """The lines in place of rows, where there is none."""
    note: str = ""
    """The bounds of this read."""
    has_more: bool = False
    """Whether another page follows."""


@dataclass(frozen=True, slots=True)
class Text:
    """Lines of text; ``anchors``: numbers of lines to go to."""

    lines: Sequence[Line] = ()
    note: str = ""
    anchors: Mapping[str, int] = field(default_factory=dict)


Content = Table | Text


@dataclass(frozen=True, slots=True)
class Key:
    """A key that acts on rows. ``label`` is for the last line, ``text`` for the help.

    ``does``: ``edit`` opens an editor first, ``try`` shows a report.
    """

    key: str
    label: str
    text: str
    asks: Asks = "enter"
    is_for_many: bool = False
    verb: str = ""
    """With which its question begins; ``what`` it is done to."""
    what: str = ""
    does: Literal["act", "edit", "try"] = "act"


EDIT = Key("E", "edit", "change a dead letter in $EDITOR, have it checked, and send it", asks="", does="edit")
TRY = Key("d", "dry run", "call the handler, and show what it would do; nothing is changed", does="try")
UNDO = Key("u", "undo", "undo the batch that was begun here last")


class View(ABC):
    """Belongs to one place; it remembers what a refresh needs, and nothing of the screen."""

    crumb: str = ""
    """Its name in the path to it."""
    columns: ClassVar[Sequence[Column]] = ()
    keys: ClassVar[Sequence[Key]] = ()
    period: ClassVar[float] = 2.0
    """Seconds between two refreshes."""
    opens: ClassVar[str] = ""
    """What Enter opens; empty: nothing."""
    goes_to = ""
    """The anchor of a text that is shown first."""

    @abstractmethod
    async def read(self, reading: Viewer, snapshot: Snapshot) -> Content:
        """Read it, on the event loop of the reading thread. Raises AwayError, TasukiError."""

    def cells(self, row: Row, signs: Signs) -> Sequence[Cell]:
        """The cells of a row, one for each of ``columns``."""
        return [column.cell(row.value, signs) for column in self.columns]

    def mark(self, row: Row, signs: Signs) -> Cell:
        """The sign before a row."""
        return (signs.problem, "bad") if row.is_problem else (" ", "")

    def sorted_by(self, column: str, row: Row) -> Any:
        """The value of a row by which a column sorts."""
        return next(each for each in self.columns if each.name == column).value(row.value)

    def enter(self, row: Row) -> View | None:
        """The view that Enter opens."""
        return None

    def explain(self, row: Row | None) -> View | None:
        """The view that says why a message does not run; None: there is no message."""
        return None

    def turn(self, step: int) -> bool:
        """Go to the page of rows after (1) or before (-1) this one, from the next refresh on; False: there is none."""
        return False

    def press(self, key: str) -> str | None:
        """A key that changes what the view reads: what to say then. None: it is none of its keys."""
        return None

    def switches(self) -> Sequence[tuple[str, str, str]]:
        """The keys that ``press`` knows: key, label, text."""
        return ()

    def aside(self, key: str) -> View | None:
        """Another view that a key opens from here; None: it is none of its keys."""
        return None

    def asides(self) -> Sequence[tuple[str, str, str]]:
        """The keys that ``aside`` knows: key, label, text."""
        return ()

    def copied(self, row: Row | None) -> str:
        """What ``y`` copies."""
        return "" if row is None else row.key

    def order(self, key: Key, row: Row | None) -> Order | None:
        """What a key orders for a row, or, without rows, for the view; None: nothing."""
        return None

    def orders(self, key: Key, rows: Sequence[Row | None]) -> list[Order]:
        """What a key orders for some rows."""
        return [order for row in rows if (order := self.order(key, row)) is not None]

    def count(self, orders: Sequence[Order]) -> int:
        """How many messages or entries these orders are about, as the last refresh has found them."""
        return len(orders)

    def question(self, key: Key, orders: Sequence[Order]) -> str:
        """The question before it; says how many."""
        return of_many(key.verb, orders, key.what)


def of_many(verb: str, orders: Sequence[Order], what: str) -> str:
    """``Retry message 0197…c41f of app:mail.dead?``, ``Retry 12 messages of app:mail.dead?``."""
    one = orders[0]
    if len(orders) == 1:
        return f"{verb} {what} {line(one.message)} of {one.id}?" if one.message else f"{verb} {what} {one.id}?"
    places = {order.id for order in orders}
    where = f" of {one.id}" if one.message and len(places) == 1 else ""
    return f"{verb} {cells.things(len(orders), what)}{where}?"


def of_letters(key: Key, count: int, queues: Sequence[str], *, is_all: bool = True, kept: bool = True) -> str:
    """``Retry 1,180 letters of app:dead, 100 a second?``.

    ``is_all``: whether these are all of them; ``kept``: whether the driver can bring letters back.
    """
    verb = "Retry" if key.key == "r" else "Delete"
    where = ", ".join(queues)
    pace = "" if count == 1 else f", {RATE:g} a second"
    bound = "" if is_all else "at least "
    is_final = key.key == "D" and (not kept or not is_all or count > KEPT)
    end = " That cannot be undone." if is_final else ""
    return f"{verb} {bound}{cells.things(count, 'letter')} of {where}{pace}?{end}"


def of_trial(order: Order) -> str:
    """The question before a dry run."""
    return f"Call the handler of message {line(order.message)} in its own process?"


def of_selected(key: Key, dead: str, rows: Sequence[tuple[str, int]]) -> list[Order]:
    """The order for letters of a dead-letter queue, by id and place: a batch, but for the retry of one."""
    if not rows:
        return []
    if key.key == "r" and len(rows) == 1:
        return [Order("redrive", "queue", dead, *rows[0])]
    act = "redrive" if key.key == "r" else "remove"
    return [Order(act, "queue", dead, bulk=Bulk(act, dead, ids=tuple(id for id, _ in rows)))]


def order_on(key: Key, queue: str, id: str, place: int, state: str) -> Order | None:
    """What a key orders for one message in this state; None: nothing. Only dead letters are edited and retried."""
    is_dead, is_running = state == "dead", state == "running"
    if key.does == "try":
        return None if is_running else Order("dry_run", "queue", queue, id, place)
    if key.does == "edit":
        return Order("edit", "queue", queue, id, place) if is_dead else None
    if key.key in ("r", "D"):
        return of_selected(key, queue, [(id, place)])[0] if is_dead else None
    return None if is_dead else Order("cancel", "queue", queue, id, place)


def question_on(key: Key, orders: Sequence[Order], *, kept: bool) -> str:
    """The question before an act on messages of one queue; ``kept``: as in ``of_letters``."""
    order = orders[0]
    if key.does == "try":
        return of_trial(order)
    if key.key in ("r", "D"):
        return of_letters(key, 1 if order.bulk is None else len(order.bulk.ids), [order.id], kept=kept)
    return of_many("Cancel", orders, "message")
