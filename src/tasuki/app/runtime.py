"""Runtime: the machinery of an App: its declarations, its open objects, and its way from open to close."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tasuki.app.handle import QueueHandle, id_of
from tasuki.app.lifecycle.additions import Additions
from tasuki.app.lifecycle.open_drivers import naming_causes, open_drivers, supervisor_of
from tasuki.app.lifecycle.unused import UnusedConsumers
from tasuki.app.source import Source
from tasuki.clock import Clock, SystemClock
from tasuki.consumers.fetching.keeper import Keeper
from tasuki.contracts.state.store_handle import checked_store, user_of
from tasuki.errors import LifecycleError, QueueNotFoundError
from tasuki.supervisor.supervisor import Supervisor
from tasuki.system.signals import StopSignals
from tasuki.units import Duration, parse_duration

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.app.health.health import Health
    from tasuki.app.measuring.depths import Reading
    from tasuki.app.measuring.history import History
    from tasuki.app.measuring.meter import Meter
    from tasuki.contracts.context import Around
    from tasuki.contracts.observer import Observer
    from tasuki.drivers import DriverEntry
    from tasuki.kinds.check.project import Project
    from tasuki.kinds.selection import Selection
    from tasuki.queues.queue import Queue
    from tasuki.registry.entry import Changes
    from tasuki.registry.loader import Loaded
    from tasuki.state.worker_record import WorkerHealth


T = TypeVar("T")


class Owner(Protocol):
    """Has opened the app, and alone closes it."""

    name: str
    """For errors: ``a TestApp``."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the app, for a caller without an event loop, and wait for its result."""


class Runtime:
    """Behind one App, for Tasuki's own parts (``app._runtime``); its names are no part of the public interface."""

    def __init__(
        self,
        driver: str | DriverEntry,
        *,
        namespace: str,
        root: Path,
        file: str,
        overrides: Sequence[str],
        environ: Mapping[str, str] | None,
        clock: Clock | None,
    ) -> None:
        """Declare nothing but the driver; ``file`` is the one that makes the App. Else as :class:`tasuki.App`."""
        self.root = root
        self.overrides = list(overrides)
        self.clock: Clock = clock or SystemClock()
        self.keeper = Keeper(self.clock)
        self.supervisor = Supervisor(clock=self.clock)
        self.source = Source(namespace=namespace, driver=driver, root=root, environ=environ)
        self.observers: list[Observer] = []
        self.selection: Selection | None = None
        """The queues that this process consumes; None: all."""
        self.around: Around | None = None
        """Makes of each Python function the one that is called in its place; from the next ``open`` on."""
        self.prepare_child: str | None = None
        """Import path of a function that each process of ``isolation: process`` calls before it imports a handler.

        It returns the ``around`` of that process, or None.
        """
        self._set_open_state()
        self._set_run_state()
        self.additions = Additions(self)
        self.source.declared.on_change = self.additions.note
        self._unused = UnusedConsumers(self, file)
        self._changing = asyncio.Lock()  # held while opening, reloading or ending; a new one each time it opens

    def _set_open_state(self) -> None:
        self.assembly: Assembly | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.owner: Owner | None = None
        """Holds the app open: ``open`` and ``close`` do nothing, and consumers run when the owner says so."""
        self.blocks = 0  # and runs that hold the app open now; the end of the last one closes it
        self.reads_only = self.is_brief = False
        """Whether it is open for inspection alone."""
        self.works = False
        """Whether its consumers run, or it only publishes."""
        self.is_starting = False
        """Whether it starts its consumers now; one that is only open has none to start."""
        self._meter: Meter | None = None
        self._health: Health | None = None
        self.history: History | None = None
        """What its queues did in the last hour; None: it was not open yet."""

    def _set_run_state(self) -> None:
        self.stop_signals = StopSignals()
        """The signals to stop of this run, or, while the app does not run, of the next one."""
        self.stopped_by: int | None = None
        """Number of the signal that ended the last run."""
        self.cut_short_by: int | None = None
        """Number of the second signal, which cancelled the handlers that still ran after the first one."""
        self.stop_requested: asyncio.Event | None = None
        """Ends ``run`` when it is set; None: it does not run."""
        self.on_hangup: Callable[[], Awaitable[None]] | None = None
        """Called on HUP while the app runs; None: reload in this process."""

    @property
    def is_code(self) -> bool:
        """Whether the app is declared in Python, and not in a folder or a file."""
        return self.source.target is None

    def load_entries(self) -> Loaded:
        """Read all declarations, with the problems that reading finds."""
        return self.source.load(self.overrides)

    def check(self) -> Project:
        """See :meth:`tasuki.App.check`."""
        from tasuki.kinds.check.project import check

        project = check(self.load_entries())
        return project if self.selection is None else self.selection.of(project)

    def live(self) -> Assembly:
        """The open app's objects. Raises LifecycleError when it is not open."""
        if self.assembly is None:
            raise LifecycleError("the app is not open: use it inside 'async with app:', or app.sync from sync code")
        return self.assembly

    def full_id(self, queue: str | QueueHandle[Any]) -> str:
        """The id of a queue or function that is given by id, name or handle."""
        return self.source.declared.id_of(id_of(queue))

    def queue(self, queue: str | QueueHandle[Any]) -> Queue:
        """The queue of an id, name or handle. Raises LifecycleError when the app is not open, QueueNotFoundError."""
        live = self.live() if self.assembly is None else self.assembly
        try:
            # A handle gives its whole id.
            return live.queue_of_application(queue if type(queue) is str and ":" in queue else self.full_id(queue))
        except QueueNotFoundError as error:
            raise self.additions.told(error) from None

    async def ready_queue(self, queue: str | QueueHandle[Any]) -> Queue:
        """The same, once all that was declared before is in force."""
        if self.additions.is_pending:
            await self.additions.applied()
        return self.queue(queue)

    async def use_store(self, id: str, verb: str, *args: Any, **options: Any) -> Any:
        """Call a verb of a store; see :meth:`tasuki.App.store`."""
        id = self.full_id(id)
        return await user_of(checked_store(self.live().application_resource(id), id))(verb, *args, **options)

    async def open(self) -> None:
        """See :meth:`tasuki.App.open`."""
        if self.owner is not None:
            return
        loop = self._own_loop()
        if self.loop is not None and self.loop is not loop:
            self.assembly = None  # its connections ended with that loop
        while self.assembly is not None:
            async with self._changing:  # another task may be opening it
                if self.assembly is not None:
                    return
        from tasuki.app.assembly import Assembly

        assembly = Assembly(
            self.check(),
            clock=self.clock,
            keeper=self.keeper,
            observers=self.observers,
            around=self.around,
            prepare_child=self.prepare_child,
        )
        assembly.find_health = self.health_sign
        assembly.take_charge()
        if not self.reads_only:
            self.begin_measuring(assembly)
        self.supervisor = supervisor_of(assembly, self.clock, reads_only=self.reads_only, is_brief=self.is_brief)
        self.assembly, self.loop, self._changing = assembly, loop, asyncio.Lock()
        async with self._changing:
            try:
                await open_drivers(self.supervisor, list(assembly.drivers))
            except BaseException:
                await self._end()
                raise

    def reading(self) -> AbstractAsyncContextManager[None]:
        """Open for inspection within the block; creates and changes nothing at the brokers. Not for publishing.

        Each call for a queue that the broker does not have raises QueueNotFoundError. Raises as ``open``.
        """
        return self.briefly(reads_only=True)

    @asynccontextmanager
    async def briefly(self, *, reads_only: bool = False) -> AsyncIterator[None]:
        """Open within the block for one act, such as a command's: what fails is raised, and is not logged as well."""
        self.is_brief, self.reads_only = True, reads_only
        try:
            async with self.held(), naming_causes(self.supervisor):
                yield
        finally:
            self.is_brief = self.reads_only = False

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Open within the block; the end of the outermost one closes the app."""
        await self.enter()
        try:
            yield
        finally:
            await self.leave()

    async def enter(self) -> None:
        """Open, until the ``leave`` of the outermost block."""
        await self.open()
        self.blocks += 1

    async def leave(self) -> None:
        """The end of a block."""
        self.blocks -= 1
        if not self.blocks:
            await self.close()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Consume within the block."""
        self.blocks += 1
        try:
            await self.start()
            yield
        finally:
            self.blocks -= 1
            await self.close()

    async def start(self) -> None:
        """See :meth:`tasuki.App.start`."""
        self.is_starting = True
        try:
            await self.open()
            if self.owner is None:
                self.health.begin()
                if self.assembly is not None and self.assembly.hooks is not None:
                    await self.assembly.hooks.start()
                self._unused.is_certain, self.works = False, True
                await self.supervisor.start()
                self.health.started()
        finally:
            self.is_starting = False

    async def run(self, *, until_empty: bool, signals: bool) -> None:
        """See :meth:`tasuki.App.run`."""
        self._refuse_owned("run")
        if self.blocks:
            raise LifecycleError(
                "app.run() closes the app at its end, and so does 'async with app': call it outside of the block, "
                "after app.open() where you publish first; or consume within 'async with app.worker()'"
            )
        from tasuki.app.lifecycle.running import run_until_stopped

        await run_until_stopped(self, until_empty=until_empty, signals=signals)

    def drain(self) -> None:
        """See :meth:`tasuki.App.drain`."""
        if self.stop_requested is not None:
            self.stop_requested.set()

    async def reload(self) -> Changes:
        """See :meth:`tasuki.App.reload`."""
        self.live()
        self._refuse_owned("reload")
        from tasuki.app.lifecycle.reload import apply_changes

        async with self._changing:
            self.additions.read()
            return await apply_changes(self, self.live(), self.check())

    def _refuse_owned(self, verb: str) -> None:
        if self.owner is not None:
            raise LifecycleError(f"{self.owner.name} holds the app: app.{verb}() would use its real drivers")

    async def close(self, timeout: Duration | None = None) -> None:
        """See :meth:`tasuki.App.close`."""
        most = None if timeout is None else parse_duration(timeout)
        if self.assembly is None or self.owner is not None:
            return
        self._own_loop()
        await self.additions.close()
        await self._unused.look_for_workers()
        if self.history is not None:
            await self.history.stop()
        if self._meter is not None:
            await self._meter.stop()
        try:
            await self.supervisor.stop(most)
        finally:
            async with self._changing:  # an open or a reload that this stop interrupts restores the old state first
                await self._end()

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        """The running loop. Raises LifecycleError: the app is open in another one, where its tasks are."""
        loop = asyncio.get_running_loop()
        if self.loop is not None and self.loop is not loop and not self.loop.is_closed():
            raise LifecycleError(
                "the app is open in another event loop; close it there first: app.sync.close(), if app.sync opened it"
            )
        return loop

    async def _end(self) -> None:
        if (assembly := self.assembly) is None:
            return
        try:
            await self.supervisor.stop()
        finally:
            self.assembly, self.loop, self.works = None, None, False
            if self._health is not None:
                self._health.end()
            if assembly.hooks is not None:
                await assembly.hooks.stop()
            await assembly.stop_handlers()

    def reader(self) -> Runtime:
        """The same declarations, to be opened for inspection by itself; see :func:`tasuki.app.app.reader_of`."""
        reader = copy.copy(self)
        Runtime._set_open_state(reader)
        Runtime._set_run_state(reader)
        reader.observers, reader.selection, reader.reads_only = [], None, True
        reader.keeper, reader.supervisor = Keeper(self.clock), Supervisor(clock=self.clock)
        reader._unused = UnusedConsumers(reader, "")  # noqa: SLF001 - the same class
        return reader

    def forget(self) -> object:
        """Mark the app as closed without closing anything, for a forked child; returns the parent's objects."""
        forgotten = (self.assembly, self.supervisor, self.keeper, self.loop, self._meter, self._health, self.history)
        self.assembly = self.loop = self._meter = self._health = self.history = None
        self.works = False
        self.keeper = Keeper(self.clock)
        self.additions.forget()
        return forgotten

    @property
    def health(self) -> Health:
        """See :attr:`tasuki.App.health`; made when it is needed."""
        if self._health is None:
            from tasuki.app.health.health import Health

            self._health = Health(self)
        return self._health

    def health_sign(self) -> WorkerHealth | None:
        """The health of this process as its entry in the stores says it; None: nothing observes it. From any thread."""
        return None if self._health is None else self._health.sign()

    @property
    def metrics(self) -> Meter:
        """See :attr:`tasuki.App.metrics`; made when it is needed."""
        if self._meter is None:
            from tasuki.app.measuring.meter import Meter

            self._meter = Meter(self)
        return self._meter

    def known_depths(self) -> dict[str, Reading]:
        """What this process has last read of its queues, by their ids; nothing unless metrics were asked for."""
        return {} if self._meter is None else self._meter.depths.known()

    def begin_measuring(self, assembly: Assembly) -> None:
        """The app has opened, or has a new version. Raises UnsupportedError: OpenTelemetry is not installed."""
        from tasuki.app.measuring.history import History

        if self.history is None:
            self.history = History(self)
        self.history.begin(assembly)
        if self._meter is not None or assembly.project.has("metrics.config"):
            self.metrics.begin(assembly)
