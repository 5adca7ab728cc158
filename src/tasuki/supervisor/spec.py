"""A service with its limits, its states, its rule of restarts, and its place in the order of dependencies; no I/O.

A graph of dependencies maps each id to the ids that it depends on; ids that are no keys of it are ignored unless said
otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from typing import Literal, Protocol

from tasuki.backoff import UNTIL_BACK, Backoff
from tasuki.errors import StartTimeoutError


class Service(Protocol):
    """Something with a life: a driver's connection, a consumer, an HTTP server.

    The same object may be started again after it has stopped or failed; a double stop is harmless.
    """

    async def start(self) -> None:
        """Return when running; raise when that cannot be."""

    async def wait(self) -> None:
        """Return when it has ended by itself (``exited``); raise when it has failed. Cancelled by the supervisor."""

    async def stop(self, timeout: float) -> None:
        """Drain: finish held messages within ``timeout`` seconds, release the others, then return.

        Raises:
            StopTimeoutError: some work had not ended, and was released.
        """


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How a failed service is restarted; at most ``max_attempts`` times in a row, 0: no limit."""

    backoff: Backoff = field(default_factory=Backoff)
    max_attempts: int = 0


class Restarts:
    """Counts the failures in a row of one service, from its launch on."""

    def __init__(self, policy: RestartPolicy, *, stable_threshold: float, is_required: bool) -> None:
        self._policy = policy
        self._stable_threshold = stable_threshold
        self._is_required = is_required
        self.has_run = False
        self.failures = 0

    def failed(self, error: BaseException, ran_for: float | None) -> float | None:
        """Note a failure after ``ran_for`` seconds of running (None: this attempt never ran).

        Returns the seconds to wait before the next attempt, no more than for any broker where one is unavailable, or
        None when there is to be none: the attempts are spent, or a required service never ran and waiting will not
        change why.
        """
        if ran_for is not None:
            self.has_run = True
            if ran_for >= self._stable_threshold:
                self.failures = 0
        self.failures += 1
        is_away = is_worth_waiting(error)
        is_hopeless = self._is_required and not self.has_run and not is_away
        if is_hopeless or self.is_spent:
            return None
        backoff = self._policy.backoff
        if is_away:
            backoff = replace(backoff, max_delay=min(backoff.max_delay, UNTIL_BACK.max_delay))
        return backoff.delay(self.failures)

    @property
    def is_spent(self) -> bool:
        """Whether there were more failures in a row than ``max_attempts`` allows."""
        return 0 < self._policy.max_attempts < self.failures


def is_worth_waiting(error: BaseException) -> bool:
    """Whether a later start may succeed without a change: the broker is unavailable, or the start hangs."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_worth_waiting(inner) for inner in error.exceptions)
    return isinstance(error, StartTimeoutError) or getattr(error, "retryable", None) is True


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service with its place in the order and its limits; times in seconds."""

    id: str
    service: Service
    depends_on: Sequence[str] = ()
    auto_start: bool = False
    start_timeout: float = 10.0
    stop_timeout: float = 10.0
    stable_threshold: float = 5.0
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    startup: Literal["required", "optional"] = "required"

    @property
    def is_required(self) -> bool:
        """Whether the start of all services fails without this one."""
        return self.startup == "required"


class State(StrEnum):
    """The state of a service in its life."""

    UNKNOWN = "unknown"
    """Never started."""
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    """Ended by an error: it waits for its next attempt, or has given up."""
    EXITED = "exited"
    """Ended by itself."""


UP = frozenset({State.RUNNING, State.EXITED})
"""States of a dependency that let its dependents start."""


_NEXT: Mapping[State, frozenset[State]] = {
    State.UNKNOWN: frozenset({State.STARTING}),
    State.STARTING: frozenset({State.RUNNING, State.FAILED, State.STOPPING}),
    State.RUNNING: frozenset({State.EXITED, State.FAILED, State.STOPPING}),
    State.STOPPING: frozenset({State.STOPPED, State.FAILED}),
    State.STOPPED: frozenset({State.STARTING}),
    State.FAILED: frozenset({State.STARTING, State.STOPPING, State.STOPPED}),
    State.EXITED: frozenset({State.STARTING, State.STOPPING}),
}


def may_follow(old: State, new: State) -> bool:
    """Whether a service may go from ``old`` to ``new``."""
    return new in _NEXT[old]


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a service at one moment."""

    state: State = State.UNKNOWN
    since: float = 0.0
    """Monotonic seconds at which it entered the state."""
    failures: int = 0
    """Failures in a row so far; reset after a run of ``stable_threshold``."""
    error: Exception | None = None
    """Why it failed, or why it stopped late."""
    has_given_up: bool = False
    """Whether it failed and will not be started again."""


Graph = Mapping[str, Collection[str]]


def find_missing(graph: Graph) -> list[tuple[str, str]]:
    """Pairs of an id and its missing dependency, in the order of the graph."""
    return [(id, dependency) for id, needs in graph.items() for dependency in needs if dependency not in graph]


def find_cycle(graph: Graph) -> list[str]:
    """The ids of one circle, each depending on the next, the first again at the end; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        # graphlib lists predecessors first; a reader expects "a needs b".
        circle: list[str] = error.args[1]
        return circle[::-1]
    return []


def start_order(graph: Graph) -> list[list[str]]:
    """Waves of ids: all of one wave may start in parallel, once all waves before it are up; none is empty.

    Raises:
        ValueError: the graph has a cycle.
    """
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    waves = []
    while sorter.is_active():
        ready = sorter.get_ready()
        sorter.done(*ready)
        waves.append([id for id in ready if id in graph])
    return [wave for wave in waves if wave]


def with_dependencies(graph: Graph, ids: Iterable[str]) -> set[str]:
    """The ids and all that they depend on, directly or not."""
    found: set[str] = set()
    stack = [id for id in ids if id in graph]
    while stack:
        id = stack.pop()
        if id not in found:
            found.add(id)
            stack.extend(dependency for dependency in graph[id] if dependency in graph)
    return found


def with_dependents(graph: Graph, ids: Iterable[str]) -> set[str]:
    """The ids and all that depend on them, directly or not."""
    return with_dependencies(reverse(graph), ids)


def reverse(graph: Graph) -> dict[str, list[str]]:
    """The graph that maps each id to the ids that depend on it."""
    turned: dict[str, list[str]] = {id: [] for id in graph}
    for id, needs in graph.items():
        for dependency in needs:
            if dependency in turned:
                turned[dependency].append(id)
    return turned


def may_start(graph: Graph, waiting: Iterable[str], up: Collection[str]) -> list[str]:
    """The waiting ids whose dependencies are all up."""
    return [id for id in waiting if all(dependency in up for dependency in graph[id])]


def may_stop(graph: Graph, live: Collection[str]) -> list[str]:
    """The live ids that no other live id depends on; all of them if they only depend on each other."""
    needed = {dependency for id in live for dependency in graph.get(id, ()) if dependency != id}
    return [id for id in live if id not in needed] or list(live)


def find_unsettled(
    graph: Graph, order: Iterable[str], statuses: Mapping[str, Status], optional: Collection[str]
) -> list[str]:
    """The ids that a start still waits for; ``order``: the keys of the graph, in order of start, which it keeps.

    A start does not wait for services that are up, optional ones that have failed once, ones that have given up, and
    dependents of both, which start later by themselves if their dependencies come up.
    """
    absent: set[str] = set()
    waiting = []
    for id in order:
        status = statuses[id]
        if status.state in UP:
            continue
        has_failed = status.has_given_up or (id in optional and status.failures > 0)
        if has_failed or any(dependency in absent for dependency in graph[id]):
            absent.add(id)
        else:
            waiting.append(id)
    return waiting


def find_given_up(statuses: Mapping[str, Status], optional: Collection[str]) -> Exception | None:
    """The error of the first required service that has given up, which ends the start; None: there is none."""
    for id, status in statuses.items():
        if status.has_given_up and id not in optional:
            return status.error
    return None
