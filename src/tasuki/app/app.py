"""App: declare in code or load from YAML; open it to publish, run it to consume."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasuki.app.declaring import Declaring
from tasuki.app.handle import QueueHandle, id_of
from tasuki.app.lifecycle.additions import Additions
from tasuki.app.lifecycle.open_drivers import lifespan_of, naming_causes, open_drivers, supervisor_of
from tasuki.app.lifecycle.unused import UnusedConsumers
from tasuki.app.owner import Owner
from tasuki.app.source import Source, hint_for, import_target
from tasuki.app.sync.running import SyncApp
from tasuki.clock import Clock, SystemClock
from tasuki.consumers.fetching.keeper import Keeper
from tasuki.errors import LifecycleError, TasukiError
from tasuki.registry.finding import home_of
from tasuki.supervisor.supervisor import Supervisor
from tasuki.system.caller import caller
from tasuki.system.stopping import StopSignals
from tasuki.units import Duration, parse_duration

# The modules that check and run a project are imported when needed, so that declaring stays quick.
if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.contracts.observer import Observer
    from tasuki.drivers import DriverEntry
    from tasuki.kinds.check.project import Project
    from tasuki.kinds.selection import Selection
    from tasuki.registry.entry import Changes
    from tasuki.registry.loader import Loaded


class App(Declaring):
    """Drivers, queues, consumers and functions, declared in code, in YAML, or both; one registry for all.

    ``App()`` keeps its queues in SQLite: in ``.tasuki/queue.db`` beside the file that makes the App, or beside the
    nearest ``pyproject.toml`` above it. ``App("memory://")``, a broker's URL, or ``App(Redis(…))`` swaps that.
    ``App.load("folder")`` is a YAML project, ``App.load("package.module:app")`` one in code.
    """

    assembly: Assembly | None = None
    loop: asyncio.AbstractEventLoop | None = None
    stopped_by: int | None = None
    """Number of the signal that ended the last run."""
    cut_short_by: int | None = None
    """Number of the second signal, which cancelled the handlers that still ran after the first one."""
    stop_requested: asyncio.Event | None = None
    """Ends ``run`` when it is set; None: it does not run."""
    owner: Owner | None = None
    """Holds the app open: ``open`` and ``close`` do nothing, and consumers run when the owner says so."""
    on_hangup: Callable[[App], Awaitable[None]] | None = None
    """Called on HUP while the app runs; None: reload in this process."""
    blocks = 0  # and runs that hold the app open now; the end of the last one closes it
    reads_only = False
    """Whether it is open for inspection alone."""
    works = False
    """Whether its consumers run, or it only publishes."""
    _is_brief = False

    def __init__(
        self,
        driver: str | DriverEntry = "sqlite://",
        *,
        namespace: str = "app",
        root: Path | str | None = None,
        overrides: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Declare an app.

        Args:
            driver: of the queues that name none: its URL (see :func:`tasuki.app.declare.driver_of_url`), or with its
                options one of :mod:`tasuki.drivers`: ``App(Redis("redis://localhost", durability="broker"))``.
            namespace: of the entries declared in code.
            root: where relative paths start; default the folder of the file that makes the App, or the nearest one
                above it with a ``pyproject.toml``; of code without a file the current folder.
            overrides: ``namespace:entry:field=value``, as ``-o`` on the command line.
            environ: where placeholders look; default the process environment.
            clock: default the machine's.
        """
        file = caller().file
        self.root = home_of(file) if root is None else Path(root)
        self.overrides = list(overrides)
        self.clock: Clock = clock or SystemClock()
        self.keeper = Keeper(self.clock)
        self.supervisor = Supervisor(clock=self.clock)
        self.stop_signals = StopSignals()
        """The signals to stop of this run, or, while the app does not run, of the next one."""
        self.sync = SyncApp(self)
        """The same app for code without an event loop: ``app.sync.publish(queue, body)``."""
        self.observers: list[Observer] = []
        """Notified of every message, from the next ``open`` on; see :class:`tasuki.contracts.observer.Observer`."""
        self.selection: Selection | None = None
        """The queues that this process consumes; ``select`` sets it. None: all."""
        self._source = Source(namespace=namespace, driver=driver, root=self.root, environ=environ)
        self.additions = Additions(self)
        self._source.declared.on_change = self.additions.note
        self._unused = UnusedConsumers(self, file)
        self._changing = asyncio.Lock()  # held while opening, reloading or ending; a new one each time it opens

    @classmethod
    def load(
        cls,
        target: Path | str,
        *,
        overrides: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> App:
        """The app of a folder or YAML file, or the object behind ``package.module:name``. Nothing is checked yet.

        Raises:
            TasukiError: there is no such module or object, or it is no App. An error of the module itself is raised as
                it is.
        """
        text = str(target)
        if ":" in text and not Path(text).exists():
            app = import_target(text, App)
            if not isinstance(app, App):
                raise TasukiError(f"{text!r} is a {type(app).__name__}, not a tasuki.App{hint_for(app, text)}")
            app.overrides += overrides
            return app
        path = Path(target)
        app = cls(root=path if path.is_dir() else path.parent, overrides=overrides, environ=environ, clock=clock)
        app._source.target = path
        return app

    def select(
        self,
        *queues: str | QueueHandle[Any],
        excluded: Iterable[str | QueueHandle[Any]] = (),
        concurrency: int | None = None,
    ) -> None:
        """Choose what this process consumes, from the next ``open`` or ``reload`` on, as the options of ``run`` do.

        Args:
            queues: by name, id or handle, as ``--queues``: their consumers run, also without ``auto_start``. None: all.
            excluded: the queues not to consume, as ``--except``.
            concurrency: of one pool for all that this process consumes; takes the place of every ``queue.worker``.

        Raises:
            SelectionError: ``concurrency`` is out of range. A queue that is not defined or not consumed is an error of
                ``open``, ``reload`` and ``check``.
        """
        from tasuki.kinds.selection import Selection

        self.selection = Selection(tuple(map(id_of, queues)), tuple(map(id_of, excluded)), concurrency)

    def load_entries(self) -> Loaded:
        """Read all declarations, with the problems that reading finds."""
        return self._source.load(self.overrides)

    def check(self) -> Project:
        """Read and check everything, and return the selected part.

        Raises:
            ProjectError: all problems at once. SelectionError: the selected queues do not fit the project.
        """
        from tasuki.kinds.check.project import check

        project = check(self.load_entries())
        return project if self.selection is None else self.selection.of(project)

    @property
    def is_code(self) -> bool:
        """Whether it is declared in Python, and not in a folder or a file."""
        return self._source.target is None

    @property
    def is_open(self) -> bool:
        """Whether the app can publish now."""
        return self.assembly is not None

    async def open(self) -> None:
        """Check, and open the drivers, so that messages can be published. Idempotent.

        If a broker is unavailable, this returns all the same: the driver goes on trying, and publishing raises
        BrokerUnavailableError until then.

        Raises:
            ProjectError, SelectionError: as ``check``. LifecycleError: a driver cannot be opened, also not by a retry.
        """
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
        self.supervisor = supervisor_of(assembly, self.clock, reads_only=self.reads_only, is_brief=self._is_brief)
        self.assembly, self.loop, self._changing = assembly, loop, asyncio.Lock()
        async with self._changing:
            try:
                await open_drivers(self.supervisor, list(assembly.drivers))
            except BaseException:
                await self._end()
                raise

    def reading(self) -> AbstractAsyncContextManager[App]:
        """Open for inspection within the block; creates and changes nothing at the brokers. Not for publishing.

        Each call for a queue that the broker does not have raises QueueNotFoundError. Raises as ``open``.
        """
        return self.briefly(reads_only=True)

    @asynccontextmanager
    async def briefly(self, *, reads_only: bool = False) -> AsyncIterator[App]:
        """Open within the block for one act, such as a command's: what fails is raised, and is not logged as well."""
        self._is_brief, self.reads_only = True, reads_only
        try:
            async with self, naming_causes(self.supervisor):
                yield self
        finally:
            self._is_brief = self.reads_only = False

    async def start(self) -> None:
        """Open, and start the consumers with ``auto_start``; returns when they run.

        Raises:
            ProjectError, LifecycleError: as ``open``; and a consumer whose handler does not load.
        """
        with self._opening():
            await self.open()
            if self.owner is None:
                with self._starting():
                    if self.assembly is not None and self.assembly.hooks is not None:
                        await self.assembly.hooks.start()
                    self._unused.is_certain, self.works = False, True
                    await self.supervisor.start()

    async def close(self, timeout: Duration | None = None) -> None:
        """Drain the consumers, close the drivers. Idempotent; ``timeout`` shortens every ``stop_timeout``.

        Raises:
            StopTimeoutError: some handlers did not end in time; their messages were released.
            LifecycleError: the app is open in another event loop. ValueError: ``timeout`` is not a duration.
        """
        most = None if timeout is None else parse_duration(timeout)
        if self.assembly is None or self.owner is not None:
            return
        self._own_loop()
        await self.additions.close()
        await self._unused.look_for_workers()
        await self._stop_measuring()
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
            self._end_health()
            if assembly.hooks is not None:
                await assembly.hooks.stop()
            await assembly.stop_handlers()

    def forget(self) -> object:
        """Mark the app as closed without closing anything, for a forked child; returns the parent's objects."""
        forgotten = (self.assembly, self.supervisor, self.keeper, self.loop, self._meter, self._health, self._history)
        self.assembly = self.loop = self._meter = self._health = self._history = None
        self.works = False
        self.keeper = Keeper(self.clock)
        self.additions.forget()
        return forgotten

    async def __aenter__(self) -> App:
        await self.open()
        self.blocks += 1
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.blocks -= 1
        if not self.blocks:
            await self.close()

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[App]:
        """Consume within a block: consumers run inside it and are drained at its end."""
        self.blocks += 1
        try:
            await self.start()
            yield self
        finally:
            self.blocks -= 1
            await self.close()

    def lifespan(self, *, consume: bool = False) -> Callable[[object], AbstractAsyncContextManager[None]]:
        """A ``lifespan`` for Starlette, FastAPI and the like: publish from requests; with ``consume`` also work."""
        return lambda asgi_app: lifespan_of(self.worker() if consume else self)

    async def run(self, *, until_empty: bool = False, signals: bool = True) -> None:
        """Consume until stopped: by ``TERM`` or ``INT`` (drain; a second one cancels), ``drain``, or ``until_empty``.

        The same signal again within 0.5 s is one signal: some programs that pass signals on send them twice.
        ``HUP`` reloads, ``QUIT`` logs what every worker is doing. ``until_empty`` returns when no consumed queue holds
        a message any more, delayed ones included.

        Raises:
            ProjectError, LifecycleError: as ``start`` and ``close``, and within a block such as ``async with app``;
                RestartLimitError: a required service gave up.
        """
        self._refuse_owned("run")
        if self.blocks:
            raise LifecycleError(
                "app.run() closes the app at its end, and so does 'async with app': call it outside of the block, "
                "after app.open() where you publish first; or consume within 'async with app.worker()'"
            )
        from tasuki.app.lifecycle.running import run_until_stopped

        await run_until_stopped(self, until_empty=until_empty, signals=signals)

    def drain(self) -> None:
        """End ``run`` as the first ``TERM`` does. Does nothing if it does not run."""
        if self.stop_requested is not None:
            self.stop_requested.set()

    async def reload(self) -> Changes:
        """Read all declarations again and apply the differences, without losing a message.

        Raises:
            ProjectError, TasukiError: nothing was changed; the old version goes on.
        """
        self._live()
        self._refuse_owned("reload")
        from tasuki.app.lifecycle.reload import apply_changes

        async with self._changing:
            self.additions.read()
            return await apply_changes(self, self._live(), self.check())

    def _refuse_owned(self, verb: str) -> None:
        if self.owner is not None:
            raise LifecycleError(f"{self.owner.name} holds the app: app.{verb}() would use its real drivers")
