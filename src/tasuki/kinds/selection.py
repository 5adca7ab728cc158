"""Parts and pictures of a project: the queues that one process consumes, and the graph of its entries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tasuki.consumers.fetching.window import MOST_CONCURRENCY
from tasuki.errors import ConfigError, SelectionError
from tasuki.fields.types import Config
from tasuki.kinds.check.consumers import shared_workers
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.consumer import ConsumerConfig, WorkerConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.kind import find_kind
from tasuki.registry.entry import find_named

ALL = "--concurrency"
"""Id of the shared workers of everything that a process consumes."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Names or ids of the queues to consume (none: all) and not to consume; ``concurrency`` of one pool for all.

    Raises:
        SelectionError: ``concurrency`` is out of range.
    """

    queues: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    concurrency: int | None = None

    def __post_init__(self) -> None:
        if self.concurrency is not None and not 1 <= self.concurrency <= MOST_CONCURRENCY:
            raise SelectionError(f"concurrency must be 1 to {MOST_CONCURRENCY}, not {self.concurrency}")

    def of(self, project: Project) -> Project:
        """The project without the other consumers; all its queues can still be published to.

        A consumer whose queue is named starts with the application, whatever its ``auto_start``.

        Raises:
            SelectionError: a queue is not defined, one to consume has no consumer, or none is left.
        """
        named, excluded = _ids(self.queues, project), _ids(self.excluded, project)
        consumers = project.of(ConsumerConfig)
        consumed = list(dict.fromkeys(config.queue for config in consumers.values()))
        for queue in named:
            if queue not in consumed:
                hint = f"the project consumes: {', '.join(consumed)}" if consumed else "the project has no consumer"
                raise SelectionError(f"queue {queue!r} has no consumer to run", hint=hint)
        chosen = [queue for queue in named or consumed if queue not in excluded]
        if consumed and not chosen:
            raise SelectionError("no queue is left to consume", hint=f"the project consumes: {', '.join(consumed)}")
        configs = {id: kept for id, config in project.configs.items() if (kept := self._part_of(config, set(chosen)))}
        kinds = {id: kind for id, kind in project.kinds.items() if id in configs}
        edges = {id: tuple(end for end in project.edges.get(id, ()) if end in configs) for id in configs}
        if self.concurrency and chosen:
            kinds[ALL] = find_kind("queue.worker")
            configs[ALL] = WorkerConfig(queues=chosen, concurrency=self.concurrency)
        return replace(project, configs=configs, kinds=kinds, edges=edges)

    def _part_of(self, config: Config, chosen: set[str]) -> Config | None:
        """An entry as this process needs it; None: it does not."""
        if isinstance(config, WorkerConfig):
            queues = [] if self.concurrency else [queue for queue in config.queues if queue in chosen]
            return config.model_copy(update={"queues": queues}) if queues else None
        if not isinstance(config, ConsumerConfig):
            return config
        if config.queue not in chosen:
            return None
        lifecycle = config.lifecycle.model_copy(update={"auto_start": True} if self.queues else {})
        return config.model_copy(update={"lifecycle": lifecycle})


def _ids(names: Iterable[str], project: Project) -> list[str]:
    """The ids of queues, each once."""
    known = project.of(QueueConfig)
    try:
        return list(dict.fromkeys(find_named(name, known, "queue") for name in names))
    except ConfigError as error:
        raise SelectionError(error.problem, hint=error.hint) from error


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
