"""Order of services by their dependencies: when each may start and stop, and which of them a start waits for.

A graph maps each id to the ids that it depends on; ids that are not keys of it are ignored unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from tasuki.supervisor.state import UP, Status

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


def find_unsettled(graph: Graph, statuses: Mapping[str, Status], optional: Collection[str]) -> list[str]:
    """The ids (keys of the graph) that a start still waits for, in order of start.

    A start does not wait for services that are up, optional ones that have failed once, ones that have given up, and
    dependents of both, which start later by themselves if their dependencies come up.
    """
    absent: set[str] = set()
    waiting = []
    for id in (id for wave in start_order(graph) for id in wave):
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
