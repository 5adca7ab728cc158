"""Graphs of a project: the way of the messages as text, Mermaid or DOT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasuki.kinds.check.project import Project

DEAD_LETTERS = "dead letters"
MIDDLEWARE = "middleware"
SERVES = "serves"
_ASIDE = (DEAD_LETTERS, MIDDLEWARE, SERVES)
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
    from tasuki.kinds.check.workers import shared_workers
    from tasuki.kinds.entries.consumer import ConsumerConfig
    from tasuki.kinds.entries.queue import QueueConfig

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


def to_text(graph: Graph) -> str:
    """A tree for each entry that nothing leads to: drivers, shared workers, and functions that no consumer calls."""
    ends = {edge.end for edge in graph.edges}
    lines: list[str] = []
    for id, kind in graph.nodes.items():
        if id not in ends:
            lines.append(f"{id}  {kind}")
            lines += _branches(graph, id, "")
    return "\n".join(lines)


def _branches(graph: Graph, id: str, indent: str) -> list[str]:
    lines = []
    edges = graph.after(id)
    for edge in edges:
        is_last = edge is edges[-1]
        lines.append(f"{indent}{'└─ ' if is_last else '├─ '}{_label(graph, edge)}")
        if edge.what not in _ASIDE:  # that end has a branch of its own
            lines += _branches(graph, edge.end, indent + ("   " if is_last else "│  "))
    return lines


def _label(graph: Graph, edge: Edge) -> str:
    return f"{edge.what} → {edge.end}" if edge.what in _ASIDE else f"{edge.end}  {graph.nodes[edge.end]}"


def to_mermaid(graph: Graph) -> str:
    """A flowchart; ids become ``n0``, ``n1`` …, since Mermaid has no names with colons."""
    names = {id: f"n{number}" for number, id in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    lines += [f'  {names[id]}["{_quoted(id)}<br/>{kind}"]' for id, kind in graph.nodes.items()]
    for edge in graph.edges:
        arrow = f"-. {edge.what} .->" if edge.what in _ASIDE else "-->"
        lines.append(f"  {names[edge.start]} {arrow} {names[edge.end]}")
    return "\n".join(lines)


def to_dot(graph: Graph) -> str:
    """For Graphviz."""
    lines = ["digraph tasuki {", "  rankdir=LR;", "  node [shape=box];"]
    lines += [f'  "{id}" [label="{id}\\n{kind}"];' for id, kind in graph.nodes.items()]
    for edge in graph.edges:
        style = f' [style=dashed, label="{edge.what}"]' if edge.what in _ASIDE else ""
        lines.append(f'  "{edge.start}" -> "{edge.end}"{style};')
    return "\n".join([*lines, "}"])


def _quoted(id: str) -> str:
    return id.replace('"', "#quot;")
