"""View: what one place of ``tasuki top`` shows, which keys it has beyond the common ones, and what they order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tasuki.top.frame.cells import Line
from tasuki.top.frame.columns import Cell, Column

if TYPE_CHECKING:
    from tasuki.desk.acts.acts import Order
    from tasuki.desk.reading.snapshot import Snapshot
    from tasuki.desk.viewer import Viewer
    from tasuki.top.frame.styles import Signs

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
    does: Literal["act", "edit", "try"] = "act"


EDIT = Key("E", "edit", "change a dead letter in $EDITOR, have it checked, and send it", asks="", does="edit")
TRY = Key("d", "dry run", "call the handler, and show what it would do; nothing is changed", does="try")
UNDO = Key("u", "undo", "undo the batch that was begun here last")


class View(ABC):
    """Belongs to one place; it remembers what a refresh needs, and nothing of the screen."""

    title: ClassVar[str] = ""
    columns: ClassVar[Sequence[Column]] = ()
    keys: ClassVar[Sequence[Key]] = ()
    period: ClassVar[float] = 2.0
    """Seconds between two refreshes."""
    opens: ClassVar[str] = ""
    """What Enter opens; empty: nothing."""
    goes_to = ""
    """The anchor of a text that is shown first."""

    @property
    def crumb(self) -> str:
        """Its name in the path to it."""
        return self.title

    @abstractmethod
    async def read(self, reading: Viewer, snapshot: Snapshot) -> Content:
        """Read it, on the event loop of the reading thread. Raises AwayError, TasukiError."""

    def cells(self, row: Row, signs: Signs) -> Sequence[Cell]:
        """The cells of a row, one for each of ``columns``."""
        raise NotImplementedError

    def mark(self, row: Row, signs: Signs) -> Cell:
        """The sign before a row."""
        return (signs.problem, "bad") if row.is_problem else (" ", "")

    def sorted_by(self, column: str, row: Row) -> Any:
        """The value of a row by which a column sorts."""
        raise NotImplementedError

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
        raise NotImplementedError
