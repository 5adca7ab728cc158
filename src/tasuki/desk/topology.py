"""Topology: the way of the messages, queue by queue, and a picture of it; no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log10
from typing import Literal

from tasuki.desk.presentation import numbers
from tasuki.desk.reading.snapshot import QueueRow, Snapshot
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.kinds.selection import Graph, graph_of
from tasuki.observe.history import MINUTE
from tasuki.observe.plain import text_width

Kind = Literal["schedule", "queue", "consumer", "function", "dead"]


@dataclass(frozen=True, slots=True)
class QueueLine:
    """One queue with all that leads to it and from it."""

    row: QueueRow
    schedules: Sequence[str]
    consumers: Sequence[str]
    functions: Mapping[str, Sequence[str]]
    """Consumer → the functions that it calls."""
    dead: str
    """Its dead-letter queue; empty: it has none."""
    dead_rate: float | None
    """Messages that became dead letters a second, in the last minute."""

    @property
    def names(self) -> list[str]:
        """The ids of all that it joins."""
        functions = [id for ids in self.functions.values() for id in ids]
        return [self.row.id, *self.schedules, *self.consumers, *functions, *([self.dead] if self.dead else [])]


def lines_of(project: Project, snapshot: Snapshot) -> list[QueueLine]:
    """All queues of a project but pure dead-letter queues, with the rates of a snapshot; the busiest first."""
    graph = graph_of(project)
    following: dict[str, list[str]] = {}
    for edge in graph.edges:
        if edge.what in ("feeds", "calls"):
            following.setdefault(edge.start, []).append(edge.end)
    schedules: dict[str, list[str]] = {}
    for id, config in project.of(ScheduleConfig).items():
        schedules.setdefault(config.queue, []).append(id)
    lines = [
        _line(row, graph, following, schedules.get(row.id, []))
        for row in snapshot.queues.values()
        if not row.is_dead_letters or row.id in following
    ]
    # Of those without traffic the ones that lead somewhere.
    return sorted(lines, key=lambda line: (-_traffic(line.row), len(line.names) == 1, line.row.id))


def _line(row: QueueRow, graph: Graph, following: Mapping[str, Sequence[str]], schedules: Sequence[str]) -> QueueLine:
    consumers = following.get(row.id, [])
    functions = {id: [each for each in following.get(id, ()) if each in graph.nodes] for id in consumers}
    dead_rate = None if not row.knows_past else 0.0 if row.past is None else row.past.last.dead / MINUTE
    return QueueLine(row, schedules, consumers, functions, row.dead_letters, dead_rate)


def _traffic(row: QueueRow) -> float:
    return (row.in_rate or 0.0) + (row.out_rate or 0.0)


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


def picture_of(lines: Sequence[QueueLine]) -> Picture:
    """The picture of some queues."""
    drawing, at = _Drawing(), 0
    for line in lines:
        _draw(drawing, line, at)
        at = max(drawing.free[kind] for kind in ("schedule", "queue", "consumer", "function")) + _GAP
    # With the room below the last boxes, where dead letters go along.
    height = max(*drawing.free.values(), _ROW)
    return Picture(WIDTH, height, list(drawing.boxes.values()), drawing.curves)


def _draw(drawing: _Drawing, line: QueueLine, at: int) -> None:
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
