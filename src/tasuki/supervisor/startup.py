"""The progress of a start: the services that are not up yet, and the one that failed it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tasuki.supervisor.order import Graph, start_order
from tasuki.supervisor.state import UP, Status


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
