"""The graph of a project: the ways of messages between its entries."""

from __future__ import annotations

from dataclasses import dataclass

from tasuki.kinds.check.project import Project
from tasuki.kinds.check.workers import shared_workers
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.queue import QueueConfig

DEAD_LETTERS = "dead letters"
MIDDLEWARE = "middleware"
SERVES = "serves"
ASIDE = (DEAD_LETTERS, MIDDLEWARE, SERVES)
"""Edges that messages of the queue do not take in the first place: dashed, and without the branches of their end."""
_SHOWN = ("queue.", "function.", "middleware.")


@dataclass(frozen=True, slots=True)
class Edge:
    """A connection between two entries.

    ``what``: ``carries``, ``feeds``, ``calls``, ``serves``, ``dead letters`` or ``middleware``.
    """

    start: str
    end: str
    what: str


@dataclass(frozen=True, slots=True)
class Graph:
    """Entry id → kind, in the order of declaration; edges in the direction in which messages move."""

    nodes: dict[str, str]
    edges: list[Edge]

    def after(self, id: str) -> list[Edge]:
        """The edges that start here."""
        return [edge for edge in self.edges if edge.start == id]


def graph_of(project: Project) -> Graph:
    """Drivers, queues, consumers, shared workers, functions and middleware; other entries are left out."""
    edges = []
    for id, queue in project.of(QueueConfig).items():
        edges.append(Edge(queue.driver, id, "carries"))
        if queue.dead_letter:
            edges.append(Edge(id, queue.dead_letter.queue, DEAD_LETTERS))
        edges += [Edge(id, each, MIDDLEWARE) for each in queue.middleware]
    shared = shared_workers(project.configs)
    for id, consumer in project.of(ConsumerConfig).items():
        edges += [Edge(consumer.queue, id, "feeds"), *(Edge(id, each, MIDDLEWARE) for each in consumer.middleware)]
        edges += [Edge(id, function, "calls") for function in consumer.functions]
        if consumer.queue in shared:
            edges.append(Edge(shared[consumer.queue][0], id, SERVES))
    nodes = {entry.id: entry.kind for entry in project.registry if entry.kind.startswith(_SHOWN)}
    return Graph(nodes, edges)
