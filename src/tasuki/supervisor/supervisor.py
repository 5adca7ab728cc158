"""Supervisor: all services of a process, started in order, kept running, stopped in reverse.

States drive everything, never a single event that could be missed: each change of state starts the waiting services
whose dependencies are up. It belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from tasuki.clock import Clock, SystemClock
from tasuki.errors import LifecycleError, StopTimeoutError
from tasuki.supervisor.controller import Controller
from tasuki.supervisor.spec import (
    UP,
    Graph,
    ServiceSpec,
    State,
    Status,
    find_cycle,
    find_given_up,
    find_missing,
    find_unsettled,
    may_start,
    may_stop,
    start_order,
    with_dependencies,
    with_dependents,
)


class StateChanges:
    """Wakes every waiting task at each change."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def wake(self) -> None:
        """Wake all waiting tasks, so that they check again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def next(self) -> None:
        """Return at the next change."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter


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


_log = logging.getLogger("tasuki.supervisor")


class Supervisor:
    """Runs services by their specs; ``is_brief``: for a single act, whose caller reports the failure."""

    def __init__(self, *, clock: Clock | None = None, is_brief: bool = False) -> None:
        self._is_brief = is_brief
        self._clock = clock or SystemClock()
        self._controllers: dict[str, Controller] = {}
        self._pending: dict[str, None] = {}  # to be launched when their dependencies are up; a set with an order
        self._changes = StateChanges()
        self._shutdown: Shutdown | None = None
        self._stop_task: asyncio.Task[list[LifecycleError]] | None = None
        self._stops = 0  # number of complete stops: an operation that began before a stop must not go on after it
        self._replacements = 0  # number under way: a service that is stopped for a replacement has not ended

    def add(self, spec: ServiceSpec) -> None:
        """Register a service; ``start`` starts it.

        Raises:
            LifecycleError: there is one of that id.
        """
        if spec.id in self._controllers:
            raise LifecycleError(f"service {spec.id!r} exists already; replace it instead", service=spec.id)
        self._controllers[spec.id] = Controller(
            spec, clock=self._clock, notify=self._on_change, is_brief=self._is_brief
        )

    async def start(self, ids: Iterable[str] | None = None) -> None:
        """Start the services (None: those with ``auto_start``) and all that they depend on.

        Returns when all are running. A required service that cannot start now (broker away, start hangs) is waited
        for; an optional one is not, nor what depends on it: these come up in the background when they can.

        Raises:
            LifecycleError: a dependency is missing or circular (nothing is started), a required service cannot start,
                or all was stopped meanwhile. What this call has started is stopped.
        """
        while self._stop_task is not None:
            await self._changes.next()
        graph, stops = self._checked_graph(), self._stops
        if ids is None:
            ids = [id for id, controller in self._controllers.items() if controller.spec.auto_start]
        chosen = {id: self._get(id) for id in ids}
        wanted = with_dependencies(graph, chosen)
        new = [id for id in wanted if not self._is_wanted(id) and (id in chosen or not self._is_up(id))]
        self._request(new)
        try:
            order = [id for wave in start_order({id: graph[id] for id in wanted}) for id in wave]
            while not self._is_started(graph, order, stops):
                await self._changes.next()
        except LifecycleError:
            await self._stop_some(new)
            raise

    async def stop(self, timeout: float | None = None) -> None:
        """Stop all services, dependents first, each within its ``stop_timeout`` or the shorter ``timeout`` seconds.

        Goes on when the caller is cancelled. A second call joins the first; with a ``timeout`` it also hurries it: the
        services that are stopping get a second ``stop`` with that timeout.

        Raises:
            LifecycleError: the one error, or one that names all: a StopTimeoutError if all were only late.
        """
        if self._stop_task is None:
            self._stops += 1
            self._pending.clear()
            self._shutdown = Shutdown(self._graph(), self._controllers, timeout)
            self._stop_task = asyncio.create_task(self._run_shutdown(self._shutdown), name="tasuki stop")
            self._changes.wake()
        elif timeout is not None and self._shutdown is not None:
            await self._shutdown.hurry(timeout)
        if self._stop_task is not None:
            _raise_joined(await asyncio.shield(self._stop_task))

    async def wait(self) -> None:
        """Return when all services that were started have ended, by themselves or stopped.

        Raises:
            LifecycleError: a required one has given up; RestartLimitError if it failed too often.
        """
        while not self._have_ended():
            await self._changes.next()

    def states(self) -> dict[str, Status]:
        """A snapshot of all services, in the order of adding."""
        return {id: controller.status for id, controller in self._controllers.items()}

    @property
    def is_stopping(self) -> bool:
        """Whether all services are being stopped; for any thread."""
        return self._stop_task is not None

    @property
    def stop_timeout(self) -> float:
        """The longest ``stop_timeout`` of a service, in seconds; for any thread."""
        return max((controller.spec.stop_timeout for controller in list(self._controllers.values())), default=0.0)

    async def until(self, condition: Callable[[Mapping[str, State]], bool]) -> None:
        """Return when the condition on the states, by id, holds; states that pass within one step may go unseen."""
        while not condition({id: controller.status.state for id, controller in self._controllers.items()}):
            await self._changes.next()

    async def remove(self, *ids: str) -> None:
        """Stop services, dependents first, and forget them.

        Raises:
            LifecycleError: no such id, or one that stays depends on it (nothing is stopped); or a late or failed
                stop (they are forgotten all the same).
        """
        leaving = {id: self._get(id) for id in ids}
        for id in with_dependents(self._graph(), leaving):
            if id not in leaving:
                raise LifecycleError(f"service {id!r} depends on a service that is to be removed", service=id)
        errors = await self._stop_some(leaving)
        for id in leaving:
            self._controllers.pop(id, None)
        self._changes.wake()
        _raise_joined(errors)

    def update(self, *specs: ServiceSpec) -> None:
        """Give services other limits and dependencies without stopping them; a start under way keeps its own.

        Raises:
            LifecycleError: no such id, or bad dependencies; nothing is changed.
        """
        controllers = [self._get(spec.id) for spec in specs]
        self._checked_graph({spec.id: spec.depends_on for spec in specs})
        for controller, spec in zip(controllers, specs, strict=True):
            controller.spec = spec

    async def replace(self, *specs: ServiceSpec, check: Callable[[], Awaitable[None]] | None = None) -> None:
        """Put new services in the place of those with the same ids, as one change, all or nothing.

        Stops the old services and their dependents, nothing else, and starts again all that were running. If a new one
        cannot start, or ``check``, called when the old ones have stopped, raises, the old ones are restored and
        started. Only one task at a time may call it.

        Raises:
            LifecycleError: no such id, bad dependencies, a new one cannot start, or all was stopped meanwhile.
        """
        old = [self._get(spec.id).spec for spec in specs]
        self._checked_graph({spec.id: spec.depends_on for spec in specs})
        touched = with_dependents(self._graph(), [spec.id for spec in specs])
        wanted = [id for id in self._controllers if id in touched and self._is_wanted(id)]
        stops = self._stops
        self._replacements += 1
        try:
            for error in await self._stop_some(touched):
                _log.warning("%s", error)
            self._refuse_after_stop(stops)
            if check is not None:
                await check()
                self._refuse_after_stop(stops)
            self._put(specs)
            await self.start(wanted)
        except BaseException:
            await self._stop_some(touched)
            self._put(old)
            if self._stops == stops:
                self._request(wanted)
            raise
        finally:
            self._replacements -= 1
            self._changes.wake()

    def _put(self, specs: Iterable[ServiceSpec]) -> None:
        for spec in specs:
            self._controllers[spec.id] = Controller(
                spec, clock=self._clock, notify=self._on_change, is_brief=self._is_brief
            )

    def _get(self, id: str) -> Controller:
        try:
            return self._controllers[id]
        except KeyError:
            raise LifecycleError(f"there is no service {id!r}", service=id) from None

    def _graph(self) -> Graph:
        return {id: controller.spec.depends_on for id, controller in self._controllers.items()}

    def _checked_graph(self, changed: Graph | None = None) -> Graph:
        graph = {**self._graph(), **(changed or {})}
        for id, dependency in find_missing(graph):
            raise LifecycleError(f"service {id!r} depends on {dependency!r}, which does not exist", service=id)
        if circle := find_cycle(graph):
            raise LifecycleError(f"services depend on each other: {' → '.join(circle)}", service=circle[0])
        return graph

    def _is_wanted(self, id: str) -> bool:
        return id in self._pending or self._controllers[id].is_alive

    def _is_up(self, id: str) -> bool:
        return id not in self._pending and self._controllers[id].status.state in UP

    def _request(self, ids: Iterable[str]) -> None:
        self._pending |= dict.fromkeys(ids)
        self._launch_ready()

    def _launch_ready(self) -> None:
        idle = {id: self._controllers[id].spec.depends_on for id in self._pending if self._controllers[id].is_idle}
        needed = {dependency for dependencies in idle.values() for dependency in dependencies}
        ready = may_start(idle, idle, {id for id in needed if self._is_up(id)})
        # Out of the set before the first launch: that is itself a change, and leads back to here.
        for id in ready:
            del self._pending[id]
        for id in ready:
            self._controllers[id].launch()

    def _on_change(self) -> None:
        self._launch_ready()
        self._changes.wake()

    def _is_started(self, graph: Graph, order: Sequence[str], stops: int) -> bool:
        self._refuse_after_stop(stops)
        statuses = self._current(order)
        optional = self._raise_given_up(statuses)
        return not find_unsettled(graph, order, statuses, optional)

    def _have_ended(self) -> bool:
        if self._replacements:
            return False
        started = [
            id for id, status in self.states().items() if status.state is not State.UNKNOWN or self._is_wanted(id)
        ]
        statuses = self._current(started)
        self._raise_given_up(statuses)
        return all(id not in self._pending and self._controllers[id].is_idle for id in statuses)

    def _current(self, ids: Iterable[str]) -> dict[str, Status]:
        """Statuses; services that are about to be launched count as never started."""
        return {id: Status() if id in self._pending else self._get(id).status for id in ids}

    def _raise_given_up(self, statuses: Mapping[str, Status]) -> set[str]:
        """Raise the error of a required service that has given up; else return the ids of the optional ones."""
        optional = {id for id, controller in self._controllers.items() if not controller.spec.is_required}
        if (error := find_given_up(statuses, optional)) is not None:
            raise error
        return optional

    def _refuse_after_stop(self, stops: int) -> None:
        if self._stops != stops:
            raise LifecycleError("the start was interrupted: all services were stopped")

    async def _stop_some(self, ids: Iterable[str]) -> list[LifecycleError]:
        chosen = {id: self._controllers[id] for id in ids if id in self._controllers}
        for id in chosen:
            self._pending.pop(id, None)
        return await Shutdown(self._graph(), chosen).run()

    async def _run_shutdown(self, shutdown: Shutdown) -> list[LifecycleError]:
        try:
            return await shutdown.run()
        finally:
            self._shutdown = self._stop_task = None
            self._changes.wake()


def _raise_joined(errors: Iterable[LifecycleError]) -> None:
    error = join_errors(errors)
    if error is not None:
        raise error
