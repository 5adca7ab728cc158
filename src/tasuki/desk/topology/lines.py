"""The topology: which entries of the project give messages to which, and how many; no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tasuki.desk.reading.snapshot import QueueRow, Snapshot
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.kinds.graph import Graph, graph_of
from tasuki.observe.history.minutes import MINUTE

Kind = Literal["schedule", "queue", "consumer", "function", "dead"]


@dataclass(frozen=True, slots=True)
class Line:
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


@dataclass(frozen=True, slots=True)
class Topology:
    """All queues, but for those that only keep dead letters."""

    lines: Sequence[Line]


def topology_of(project: Project, snapshot: Snapshot) -> Topology:
    """The topology of a project, with the rates of a snapshot; the busiest queues first."""
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
    return Topology(sorted(lines, key=lambda line: (-_traffic(line.row), len(line.names) == 1, line.row.id)))


def _line(row: QueueRow, graph: Graph, following: Mapping[str, Sequence[str]], schedules: Sequence[str]) -> Line:
    consumers = following.get(row.id, [])
    functions = {id: [each for each in following.get(id, ()) if each in graph.nodes] for id in consumers}
    dead_rate = None if not row.knows_past else 0.0 if row.past is None else row.past.last.dead / MINUTE
    return Line(row, schedules, consumers, functions, row.dead_letters, dead_rate)


def _traffic(row: QueueRow) -> float:
    return (row.in_rate or 0.0) + (row.out_rate or 0.0)
