"""Session: an app whose drivers a twin replaces for the time of a test, and restores at its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from inspect import formatannotation
from typing import Any, TypeVar

from tasuki.app import App
from tasuki.app.assembly import Assembly
from tasuki.app.flow.requests import Requests
from tasuki.app.tasks import Sender
from tasuki.consumers.fetching.keeper import Keeper
from tasuki.errors import LifecycleError
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.testing.clock import FakeClock
from tasuki.testing.twin.assembly import TwinAssembly, TwinRequests
from tasuki.testing.twin.driver import Faults
from tasuki.testing.twin.handlers import Call, call_of_task, find_function, run_handler
from tasuki.testing.twin.reading.journal import Journal
from tasuki.testing.twin.schedules import TwinSchedules
from tasuki.testing.twin.work import Work

T = TypeVar("T")

LEAVE = 1.0
"""Seconds for the end of the loop of a handler that cannot be ended."""


class Session:
    """The owner of the app from ``enter`` to ``leave``; see :class:`tasuki.app.runtime.Owner`."""

    name = "a TestApp"
    is_real = False
    """Whether the app keeps its own drivers."""

    def __init__(self, app: App, clock: FakeClock, patience: float) -> None:
        self.app = app
        self.patience = patience
        self.journal = Journal()
        self.faults = Faults(clock, self.journal)
        self.work = Work(self.faults, patience)
        self._runner: asyncio.Runner | None = None
        """Has the loop for callers without one; made when the first one comes."""
        self._lock = threading.Lock()
        self._calling: asyncio.AbstractEventLoop | None = None
        """Where a handler runs without a queue."""

    async def enter(self) -> None:
        """Build the app's objects on twins of its drivers. Raises LifecycleError, ProjectError."""
        self._check_free()
        app, clock = self.app, self.faults.clock
        observers = [*app.observers, self.journal]
        project = app.check()
        parts = {
            "project": project,
            "clock": clock,
            "observers": observers,
            "around": app._runtime.around,
            "prepare_child": app._runtime.prepare_child,
        }
        assembly = TwinAssembly(self.faults, self.run, keeper=Keeper(clock), **parts)
        self._take(assembly, project, TwinRequests(self.work, clock))
        self.work.schedules = TwinSchedules(assembly, clock)
        await assembly.open()
        await self.work.schedules.open()
        await self._begin(assembly)

    def _check_free(self) -> None:
        app = self.app
        if self.work.entered is not None:
            raise LifecycleError("a TestApp is for one block: make another one with TestApp(app)")
        if app._runtime.owner is not None:
            name = app._runtime.owner.name
            raise LifecycleError(
                f"{name} holds the app already: a test takes one TestApp at a time; leave the other one first"
            )
        if app.is_open:
            raise LifecycleError("the app is open: close it before a TestApp takes it (app.close, app.sync.close)")

    def _take(self, assembly: Assembly, project: Project, requests: Requests) -> None:
        """Let the work be done with these objects, before they are opened."""
        assembly.requests = requests
        for service in assembly.services.values():
            service.closing = [assembly.requests.close, assembly.reply_queues.close, assembly.states.close]
        assembly.take_charge()
        consumers = project.of(ConsumerConfig)
        self.work.entered = assembly
        self.work.selected = [each for id, each in assembly.consumers.items() if consumers[id].lifecycle.auto_start]

    async def _begin(self, assembly: Assembly) -> None:
        """Let the code under test use these objects, once they are open."""
        self.app._runtime.assembly, self.app._runtime.owner = assembly, self
        if assembly.hooks is not None:
            await assembly.hooks.start()

    def refuse_faults(self, verb: str) -> None:
        """Raise LifecycleError where ``t.verb`` has no twin to act on."""

    async def handle(self, handler: str | Callable[..., Any] | Sender[..., Any], *args: Any, **named: Any) -> Any:
        """Call one handler with a body, or a task with its arguments; see :meth:`TestApp.run`.

        Ends its threads and processes, unless a drain uses them.
        """
        assembly = self.work.assembly
        if isinstance(handler, Sender):
            call = call_of_task(assembly, handler, args, named)
        elif isinstance(handler, str):
            call = Call(self.app._runtime.full_id(handler), *args, **named)
        else:
            call = Call(find_function(assembly, handler), *args, **named)
        before, self._calling = self._calling, asyncio.get_running_loop()
        try:
            return await run_handler(assembly, call)
        finally:
            self._calling = before
            if not self.work.is_running:
                await assembly.stop_handlers()

    def provide(self, type_: object, value: object) -> None:
        """Give handlers this object in place of what the app provides. Raises ValueError: it provides no such type."""
        providers = self.work.assembly.providers
        if providers is not None and type_ in providers.types:
            return providers.replace(type_, value)
        known = ", ".join(sorted(map(formatannotation, providers.types))) if providers is not None else "nothing"
        raise ValueError(f"the app provides no {formatannotation(type_)}; it provides {known}")

    async def leave(self) -> None:
        """Leave the app as it was: closed, with its own drivers."""
        if self.app._runtime.owner is not self:
            return
        self.app._runtime.assembly = self.app._runtime.owner = None
        self.work.is_over = True
        if self.work.assembly.hooks is not None:
            await self.work.assembly.hooks.stop()
        await self.work.assembly.stop_handlers()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """See Owner: in the loop where handlers run now, as its thread may wait for them, else in one of its own."""
        loop = self.work.loop or self._calling
        if loop is not None:
            return asyncio.run_coroutine_threadsafe(work, loop).result()
        with self._lock:
            if self._runner is None:
                self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
            return self._runner.run(work, context=copy_context())

    def close_loop(self) -> None:
        """End the loop for callers without one, and the tasks that handlers left in it."""
        runner, self._runner = self._runner, None
        if runner is not None:
            closing = threading.Thread(target=runner.close, daemon=True)  # another loop may run in this one
            closing.start()
            closing.join(LEAVE if self.work.is_stuck else None)


def refuse_loop(what: str, instead: str) -> None:
    """Raise LifecycleError where an event loop runs, as the call would block it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise LifecycleError(f"{what} would block the event loop: write {instead}")
