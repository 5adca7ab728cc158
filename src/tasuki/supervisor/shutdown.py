"""Stop services in reverse order, independent ones in parallel, and collect the errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from tasuki.errors import LifecycleError, StopTimeoutError
from tasuki.supervisor.controller import Controller
from tasuki.supervisor.order import Graph, may_stop


class Shutdown:
    """One stop of a set of services; the set is fixed at the beginning."""

    def __init__(self, graph: Graph, controllers: Mapping[str, Controller], timeout: float | None = None) -> None:
        self._graph = dict(graph)
        self._controllers = controllers
        self._timeout = timeout
        self._left = {id for id, controller in controllers.items() if controller.needs_stop}
        self._tasks: dict[asyncio.Task[None], str] = {}

    async def run(self) -> list[LifecycleError]:
        """Stop all; a failed or late stop does not hold up the others. Returns the errors, in order of their end."""
        errors: list[LifecycleError] = []
        while self._left:
            self._stop_next()
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                id = self._tasks.pop(task)
                self._left.discard(id)
                if (error := task.exception()) is not None:
                    errors.append(error if isinstance(error, LifecycleError) else _unexpected(id, error))
        return errors

    async def hurry(self, timeout: float) -> None:
        """Allow ``timeout`` seconds from now on for each service; returns when all stopping services know it."""
        self._timeout = timeout if self._timeout is None else min(timeout, self._timeout)
        stops = [self._controllers[id].stop(self._timeout) for id in self._tasks.values()]
        await asyncio.gather(*stops, return_exceptions=True)

    def _stop_next(self) -> None:
        busy = set(self._tasks.values())
        for id in may_stop(self._graph, self._left):
            if id not in busy:
                self._tasks[asyncio.create_task(self._controllers[id].stop(self._timeout))] = id


def _unexpected(id: str, error: BaseException) -> LifecycleError:
    wrapped = LifecycleError(f"service {id!r} failed to stop: {error!r}", service=id)
    wrapped.__cause__ = error
    return wrapped


def join_errors(errors: Iterable[LifecycleError]) -> LifecycleError | None:
    """One error that names all services: the only one itself, or None when there is none.

    It is a StopTimeoutError when all of them are; its cause is the group of all.
    """
    group = list(errors)
    if len(group) < 2:
        return group[0] if group else None
    is_late = all(isinstance(error, StopTimeoutError) for error in group)
    joined = (StopTimeoutError if is_late else LifecycleError)(
        "; ".join(str(error) for error in group), service=", ".join(error.service for error in group)
    )
    joined.__cause__ = ExceptionGroup("services did not stop in order", group)
    return joined
