"""RealSession: an app that a test holds open with its own drivers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from tasuki.app import App
from tasuki.consumers.fetching.keeper import Keeper
from tasuki.errors import LifecycleError
from tasuki.system.loop_thread import LoopThread
from tasuki.testing.clock import FakeClock
from tasuki.testing.real.assembly import RealAssembly
from tasuki.testing.real.ledger import Ledger
from tasuki.testing.real.work import RealWork
from tasuki.testing.twin.assembly import TwinRequests
from tasuki.testing.twin.session import Session

T = TypeVar("T")


class RealSession(Session):
    """As Session. Real drivers work in the background, so a test without an event loop gets one in a thread."""

    is_real = True

    def __init__(self, app: App, patience: float) -> None:
        super().__init__(app, FakeClock(), patience)
        self.ledger = Ledger(app._runtime.clock, self.journal)
        self.real_work = RealWork(self.faults, self.ledger, app._runtime.clock, patience)
        self.work = self.real_work
        self._home: asyncio.AbstractEventLoop | None = None
        self._thread: LoopThread | None = None

    async def enter(self) -> None:
        """Open the app's own drivers. Raises LifecycleError, ProjectError, DriverError."""
        self._check_free()
        app, project = self.app, self.app.check()
        assembly = RealAssembly(
            self.ledger,
            project=project,
            clock=app._runtime.clock,
            keeper=Keeper(app._runtime.clock),
            observers=[*app.observers, self.journal],
            around=app._runtime.around,
            prepare_child=app._runtime.prepare_child,
        )
        self._home = asyncio.get_running_loop()
        self._take(assembly, project, TwinRequests(self.work, app._runtime.clock))
        await assembly.open()
        await self._begin(assembly)

    async def leave(self) -> None:
        """Close the drivers, and leave the app as it was."""
        if self.app._runtime.owner is not self:
            return
        self.app._runtime.assembly = self.app._runtime.owner = None
        self.work.is_over = True
        assembly = self.work.assembly
        assert isinstance(assembly, RealAssembly)
        try:
            if assembly.hooks is not None:
                await assembly.hooks.stop()
        finally:
            await assembly.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """See Owner: in the loop of the drivers."""
        if self._home is None or self._thread is not None:
            return self._loop_thread().run(work)
        with suppress(RuntimeError):
            if asyncio.get_running_loop() is self._home:
                work.close()
                raise LifecycleError("app.sync would block the event loop of the test: await the call instead")
        return asyncio.run_coroutine_threadsafe(work, self._home).result()

    def _loop_thread(self) -> LoopThread:
        if self._thread is None:
            self._thread = LoopThread("tasuki test")
        return self._thread

    def close_loop(self) -> None:
        """End the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()
            if not self.work.is_stuck:
                thread.join()

    def refuse_faults(self, verb: str) -> None:
        """See Session."""
        raise LifecycleError(
            f"t.{verb} acts on the twin's own broker and its virtual time: use it in a test without real=True"
        )
