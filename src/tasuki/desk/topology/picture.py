"""The picture of a topology: boxes in five columns, and curves between them; no I/O.

Schedules → queues → consumers → functions → dead letters. The wider a curve, the more messages take it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10

from tasuki.desk.looks import numbers
from tasuki.desk.topology.lines import Kind, Line
from tasuki.observe.plain import text_width

WIDTH = 1180
_COLUMNS: dict[Kind, int] = {"schedule": 0, "queue": 1, "consumer": 2, "function": 3, "dead": 4}
_BOX, _HEIGHT, _ROW, _GAP = 196, 36, 46, 12
_LOW = 28
"""Where dead letters leave a box."""
_STEP = (WIDTH - _BOX) // 4
_MOST = 20
"""Schedules and consumers of a queue, and functions of a consumer, that are drawn."""
_CHARACTERS = 27
"""Widths of a letter in a box."""


@dataclass(frozen=True, slots=True)
class Box:
    """One entry; ``path``: the segments of its page, empty: it has none; ``label``: its id, cut at the front."""

    id: str
    kind: Kind
    label: str
    note: str
    path: Sequence[str]
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Curve:
    """``d`` of an SVG path, and how wide it is."""

    d: str
    width: float
    is_aside: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it."""

    width: int
    height: int
    boxes: Sequence[Box]
    curves: Sequence[Curve]


class _Drawing:
    def __init__(self) -> None:
        self.boxes: dict[tuple[Kind, str], Box] = {}
        self.curves: list[Curve] = []
        self.free = dict.fromkeys(_COLUMNS, 0)
        """The first free height of each column."""

    def box(self, kind: Kind, id: str, note: str, path: Sequence[str], at: int) -> Box:
        """The box of an entry: as high as it can be, from ``at`` on."""
        if (known := self.boxes.get((kind, id))) is not None:
            return known
        y = max(self.free[kind], at)
        self.free[kind] = y + _ROW
        box = Box(id, kind, shortened(id, _CHARACTERS), note, path, _COLUMNS[kind] * _STEP, y)
        self.boxes[kind, id] = box
        return box

    def curve(self, start: Box, end: Box, rate: float) -> None:
        """From the right of a box to the left of another one."""
        x, y, to_x, to_y = start.x + _BOX, start.y + _HEIGHT // 2, end.x, end.y + _HEIGHT // 2
        middle = (x + to_x) // 2
        self.curves.append(Curve(f"M{x} {y}C{middle} {y} {middle} {to_y} {to_x} {to_y}", width_of(rate), False))

    def curve_aside(self, start: Box, end: Box, rate: float) -> None:
        """The same, below the boxes that are between them."""
        x, y, to_x, to_y = start.x + _BOX, start.y + _LOW, end.x, end.y + _LOW
        below = start.y + (_HEIGHT + _ROW) // 2
        way = f"M{x} {y}C{x + 20} {y} {x + 20} {below} {x + 44} {below}H{to_x - 44}"
        end_of_it = f"C{to_x - 20} {below} {to_x - 20} {to_y} {to_x} {to_y}"
        self.curves.append(Curve(way + end_of_it, width_of(rate), True))


def picture_of(lines: Sequence[Line]) -> Picture:
    """The picture of some queues."""
    drawing, at = _Drawing(), 0
    for line in lines:
        _draw(drawing, line, at)
        at = max(drawing.free[kind] for kind in ("schedule", "queue", "consumer", "function")) + _GAP
    # With the room below the last boxes, where dead letters go along.
    height = max(*drawing.free.values(), _ROW)
    return Picture(WIDTH, height, list(drawing.boxes.values()), drawing.curves)


def _draw(drawing: _Drawing, line: Line, at: int) -> None:
    row = line.row
    note = f"{numbers.number(row.ready)} · {numbers.rate(row.in_rate)} → {numbers.rate(row.out_rate)}"
    queue = drawing.box("queue", row.id, note, ("queues", row.id), at)
    for id in line.schedules[:_MOST]:
        drawing.curve(drawing.box("schedule", id, "", ("schedules",), at), queue, 0.0)
    consumers = {each.id: each for each in row.consumers}
    rate = (row.out_rate or 0.0) / max(len(line.consumers), 1)
    for id in line.consumers[:_MOST]:
        known = consumers.get(id)
        note = "" if known is None else f"{numbers.number(known.running)}/{numbers.number(known.concurrency)}"
        consumer = drawing.box("consumer", id, note, ("queues", row.id), at)
        drawing.curve(queue, consumer, rate)
        for function in line.functions[id][:_MOST]:
            drawing.curve(consumer, drawing.box("function", function, "", ("queues", row.id), at), rate)
    if line.dead:
        note = numbers.number(row.dead)
        drawing.curve_aside(
            queue, drawing.box("dead", line.dead, note, ("queues", line.dead), at), line.dead_rate or 0.0
        )


def width_of(rate: float) -> float:
    """1 for nothing, 2.5 for ten a second, and 1.5 more for each time ten of that."""
    return 1.0 if rate <= 0 else round(min(1.0 + 1.5 * log10(1 + rate), 8.0), 1)


def shortened(text: str, most: int) -> str:
    """The end of a long text, which tells entries of one namespace apart; letters of East Asia are two wide."""
    width, kept = 0, list[str]()
    for letter in reversed(text):
        width += text_width(letter)
        if width > most - 1:
            return "…" + "".join(reversed(kept))
        kept.append(letter)
    return text
