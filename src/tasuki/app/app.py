"""App: declare in code or load from YAML; open it to publish, run it to consume."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, overload

from tasuki.app.declare import EntryDeclarer, name_of
from tasuki.app.guesses import NOT_A_SYNC_BLOCK, OF_APP, Guessed
from tasuki.app.handle import QueueHandle, id_of
from tasuki.app.hooks.declaring import Moments
from tasuki.app.lifecycle.open_drivers import lifespan_of
from tasuki.app.runtime import Runtime
from tasuki.app.schedules.declaring import QUEUE, ScheduleDecorator, refuse_function
from tasuki.app.source import hint_for, import_target
from tasuki.app.tasks.options import REQUEST, SENDING, refuse_unknown
from tasuki.contracts.state.following import unfollowed
from tasuki.contracts.state.store_handle import StoreHandle
from tasuki.errors import TasukiError
from tasuki.handlers.body import register
from tasuki.observe.tracebacks import cause_for_user, for_user
from tasuki.registry.finding import home_of
from tasuki.system.caller import caller
from tasuki.units import Duration

# The modules that check and run a project are imported when needed, so that declaring stays quick.
if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.app.dead import AppDead
    from tasuki.app.flow.groups import Grouping
    from tasuki.app.health.health import Health
    from tasuki.app.jobs import AppJobs, Job
    from tasuki.app.measuring.meter import Meter
    from tasuki.app.schedules.declaring import AppSchedules, ScheduleOptions
    from tasuki.app.typed import entries as e
    from tasuki.app.typed.options import ChainOptions, Headers, Named, RequestOptions
    from tasuki.app.workers import AppWorkers
    from tasuki.clock import Clock
    from tasuki.contracts.observer import Observer
    from tasuki.contracts.state.following import Follower, Later, StartedGroup
    from tasuki.drivers import DriverEntry
    from tasuki.handlers.providing.provider import Scope
    from tasuki.kinds.check.project import Project
    from tasuki.registry.entry import Changes

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


class App(Guessed):
    """Drivers, queues, consumers and functions, declared in code, in YAML, or both; one registry for all.

    ``App()`` keeps its queues in SQLite: in ``.tasuki/queue.db`` beside the file that makes the App, or beside the
    nearest ``pyproject.toml`` above it. ``App("memory://")``, a broker's URL, or ``App(Redis(…))`` swaps that.
    ``App.load("folder")`` is a YAML project, ``App.load("package.module:app")`` one in code.

    Declare with ``queue``, ``every`` and ``cron``; publish with ``publish``; work with ``run``. Operations are grouped:
    ``app.jobs``, ``app.dead``, ``app.schedules``, ``app.workers``, ``app.health``, ``app.metrics``.
    """

    _guesses = OF_APP
    timezone: str | None = None
    """The time zone of the cron expressions that are declared in code without one; None: UTC."""

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
        self._runtime = Runtime(
            driver,
            namespace=namespace,
            root=home_of(file) if root is None else Path(root),
            file=file,
            overrides=overrides,
            environ=environ,
            clock=clock,
        )
        from tasuki.app.sync.running import SyncApp

        self.sync = SyncApp(self)
        """The same app for code without an event loop: ``app.sync.publish(queue, body)``."""

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
            app._runtime.overrides += overrides
            return app
        path = Path(target)
        app = cls(root=path if path.is_dir() else path.parent, overrides=overrides, environ=environ, clock=clock)
        app._runtime.source.target = path
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

        self._runtime.selection = Selection(tuple(map(id_of, queues)), tuple(map(id_of, excluded)), concurrency)

    def check(self) -> Project:
        """Read and check everything, and return the selected part.

        Raises:
            ProjectError: all problems at once. SelectionError: the selected queues do not fit the project.
        """
        return self._runtime.check()

    @property
    def is_open(self) -> bool:
        """Whether the app can publish now."""
        return self._runtime.assembly is not None

    @property
    def observers(self) -> list[Observer]:
        """Notified of every message, from the next ``open`` on; see :class:`tasuki.contracts.observer.Observer`."""
        return self._runtime.observers

    async def open(self) -> None:
        """Check, and open the drivers, so that messages can be published. Idempotent.

        If a broker is unavailable, this returns all the same: the driver goes on trying, and publishing raises
        BrokerUnavailableError until then.

        Raises:
            ProjectError, SelectionError: as ``check``. LifecycleError: a driver cannot be opened, also not by a retry.
        """
        await self._runtime.open()

    async def start(self) -> None:
        """Open, and start the consumers with ``auto_start``; returns when they run.

        Raises:
            ProjectError, LifecycleError: as ``open``; and a consumer whose handler does not load.
        """
        await self._runtime.start()

    async def close(self, timeout: Duration | None = None) -> None:
        """Drain the consumers, close the drivers. Idempotent; ``timeout`` shortens every ``stop_timeout``.

        Raises:
            StopTimeoutError: some handlers did not end in time; their messages were released.
            LifecycleError: the app is open in another event loop. ValueError: ``timeout`` is not a duration.
        """
        await self._runtime.close(timeout)

    async def __aenter__(self) -> App:
        await self._runtime.enter()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._runtime.leave()

    if not TYPE_CHECKING:  # a type checker reports the block itself

        def __enter__(self) -> NoReturn:
            raise TypeError(NOT_A_SYNC_BLOCK)

        def __exit__(self, *exc: object) -> None:  # Python looks for both before it calls one
            """Never called."""

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[App]:
        """Consume within a block: consumers run inside it and are drained at its end."""
        async with self._runtime.working():
            yield self

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
        await self._runtime.run(until_empty=until_empty, signals=signals)

    def drain(self) -> None:
        """End ``run`` as the first ``TERM`` does. Does nothing if it does not run."""
        self._runtime.drain()

    async def reload(self) -> Changes:
        """Read all declarations again and apply the differences, without losing a message.

        Raises:
            ProjectError, TasukiError: nothing was changed; the old version goes on.
        """
        return await self._runtime.reload()

    def queue(
        self, name: str, body: type[Named] | UnionType | None = None, **fields: Unpack[e.QueueFields]
    ) -> QueueHandle[Named]:
        """Declare a queue, or get the one that YAML or an earlier call declared.

        Args:
            name: in the app's namespace, or a full id (``app.queue:tasks``).
            body: the type of its bodies: type checkers and each publish hold a body to it. None: any body.
            fields: the fields of ``queue.queue``; without ``driver`` it is on the app's own. A ``dead_letter`` that is
                not declared anywhere is declared with it.

        Raises:
            InvalidEntryError: the queue has another body type already.
        """
        return QueueHandle(self, self._runtime.source.queue(name, fields, body))

    def every(
        self,
        interval: Duration,
        /,
        *,
        queue: str | QueueHandle[Any] | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleDecorator:
        """Run the decorated function, or task, at each interval: on one worker, whichever is free.

        Args:
            interval: whole seconds, text (``30s``) or a ``timedelta``, counted from 1970-01-01 00:00 UTC.
            queue: whose worker runs it; default the queue ``schedules`` of the app, which is declared with it.
            options: ``args``: the function's arguments by name; ``name``: of the entry, default the function's with
                ``.schedule``; and the fields of ``queue.schedule``: headers, catch_up, overlap, jitter, enabled.
        """
        refuse_function("every", "'30s'", interval)
        return ScheduleDecorator(self, self._of_schedule(queue), {"every": interval}, options)

    def cron(
        self,
        expression: str,
        /,
        *,
        tz: str | None = None,
        queue: str | QueueHandle[Any] | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleDecorator:
        """Run the decorated function, or task, at each time of a cron expression: ``@app.cron("0 9 * * mon-fri")``.

        Args:
            expression: five fields, or ``@daily`` and the like.
            tz: the time zone by whose clocks it is read, such as ``Asia/Tokyo``; default ``timezone`` of the app: UTC,
                and in a Django project its ``TIME_ZONE``.
            queue: as for ``every``.
            options: as for ``every``.
        """
        refuse_function("cron", "'0 9 * * *'", expression)
        timing = (
            {"cron": expression} if (zone := tz or self.timezone) is None else {"cron": expression, "timezone": zone}
        )
        return ScheduleDecorator(self, self._of_schedule(queue), timing, options)

    def _of_schedule(self, queue: str | QueueHandle[Any] | None) -> str | QueueHandle[Any]:
        return self.queue(QUEUE) if queue is None else queue

    @overload
    def function(self, name: F, /) -> F: ...
    @overload
    def function(self, name: str | None = None) -> Callable[[F], F]: ...
    def function(self, name: str | F | None = None) -> F | Callable[[F], F]:
        """Declare the decorated function as a function entry, for ``call`` and other handlers; it stays as it is.

        Works with and without parentheses.
        """
        given = name if isinstance(name, str) else ""

        def declare(function: F) -> F:
            self._runtime.source.declared.add_function(given or name_of(function), function)
            return function

        return declare if name is None or isinstance(name, str) else declare(name)

    def middleware(self, function: F) -> F:
        """Declare the decorated function as ``middleware.python``, under its own name; it stays as it is."""
        self._runtime.source.declared.add(name_of(function), "middleware.python", {}, target=function)
        return function

    @overload
    def provide(self, function: F, /, *, scope: Scope = "process", name: str | None = None) -> F: ...
    @overload
    def provide(self, /, *, scope: Scope = "process", name: str | None = None) -> Callable[[F], F]: ...
    def provide(
        self, function: F | None = None, /, *, scope: Scope = "process", name: str | None = None
    ) -> F | Callable[[F], F]:
        """Declare the decorated function as ``provider.python``; it stays as it is. Works without parentheses too.

        What it returns, or yields as a context manager or generator, is given to each parameter of its type: of
        handlers, of tasks and of other providers.

        Args:
            function: the decorated function; the annotation of its result says the type.
            scope: ``process``: made at its first use, once for each worker process, and closed at its end;
                ``message``: made for each run of a handler, and closed after it, whatever its outcome.
            name: of the entry; default the function's.
        """

        def declare(function: F) -> F:
            fields = {} if scope == "process" else {"scope": scope}
            self._runtime.source.declared.add(name or name_of(function), "provider.python", fields, target=function)
            return function

        return declare if function is None else declare(function)

    @property
    def on(self) -> Moments:
        """Declare hooks: ``@app.on.start``, ``@app.on.failed(queue=jobs)``."""
        return Moments(self._runtime.source)

    def converter(self, type_: type[T], to: Callable[[T], object], from_: Callable[[Any], T]) -> None:
        """Let bodies, arguments and results carry a type of your own, in this process.

        Args:
            type_: the class; subclasses are sent like it.
            to: a value as something that a body carries: a text, a number, a dict.
            from_: the same back from that; it raises ValueError or TypeError for any other data.

        Raises:
            TasukiError: bodies carry the type already, or another converter does.
        """
        register(type_, to, from_)

    @property
    def entry(self) -> EntryDeclarer:
        """Declare an entry of any kind: ``app.entry("cache", "store.memory", max_entries=1000)``."""
        return EntryDeclarer(self._runtime.source.declared)

    def traces(self, provider: object = None, /, **fields: Unpack[e.TracesFields]) -> str:
        """Record spans of messages with OpenTelemetry; returns the id of the entry, a ``traces.config``.

        Args:
            provider: the TracerProvider of the spans; None: the application's global one.
            fields: the fields of ``traces.config``: sample, attach, create, receive, baggage, body_size, process.
        """
        return self._runtime.source.declared.add("traces", "traces.config", {**fields}, target=provider).id

    def asyncapi(self, *, title: str | None = None, version: str | None = None) -> dict[str, Any]:
        """The AsyncAPI 3.1 document of this app, as plain data; see :func:`tasuki.kinds.asyncapi.document.asyncapi_of`.

        Raises:
            ProjectError: all problems at once.
        """
        from tasuki.kinds.asyncapi.document import asyncapi_of

        return asyncapi_of(self.check(), title=title, version=version)

    async def publish(
        self,
        queue: str | QueueHandle[T],
        body: T,
        headers: Headers = None,
        **options: Unpack[ChainOptions],
    ) -> Job[Any]:
        """Publish to a queue by id or handle; see :meth:`tasuki.queues.queue.Queue.publish`.

        ``then``: a message, queue (also by name) or task that follows when this one is done, once; a queue or task is
        given the result. ``on_error``: the same when this one is given up. See ``group``.
        """
        from tasuki.app.jobs import Job

        try:
            if self._runtime.additions.is_pending:
                await self._runtime.additions.applied()
            live = self._runtime.queue(queue)
            if (plain := unfollowed(options) if options else {}) is not None:
                done = await live.publish(body, headers, **plain)
            else:
                done = await self._grouping().publish(id_of(queue), body, headers, options)
            return Job(done.id, done.durability, done.outcome, done.instead_of, live.id, self)
        except TypeError:
            refuse_unknown("publish(…)", options, SENDING)
            raise
        except TasukiError as error:
            raise for_user(error) from cause_for_user(error)

    async def request(
        self,
        queue: str | QueueHandle[T],
        body: T,
        headers: Headers = None,
        *,
        returns: type[Named] | UnionType | None = None,
        **options: Unpack[RequestOptions],
    ) -> Named:
        """Publish to a queue by id or handle, and wait for what its handler returns.

        Args:
            queue: its id or handle.
            body: as for ``publish``.
            headers: as for ``publish``, but for ``reply_to`` and ``correlation_id``: those are set here.
            returns: the type that the result becomes; None: it stays as it was decoded.
            options: ``reply_timeout``: for everything, from the publish to the reply; default 30 seconds.
                ``reply_to``: a declared queue for the reply; default one that this process makes for itself and removes
                when it closes. Several processes may wait on the same declared queue.
                ``delay``, ``at``, ``ttl``, ``priority``, ``key``, ``id``, ``handler_timeout`` and ``retries``: as for
                ``publish``.

        Raises:
            HandlerError: the handler has failed for the last time, or its result cannot be sent; InvalidBodyError: the
                result does not fit ``returns``.
            RequestTimeoutError: no reply in time; a queue without ``dead_letter`` tries a failing message forever.
            TasukiError: as ``publish``.
        """
        refuse_unknown("request(…)", options, REQUEST)
        target, live = await self._runtime.ready_queue(queue), self._runtime.live()
        timeout, reply_to = options.pop("reply_timeout", 30.0), options.pop("reply_to", None)
        replies = None if reply_to is None else live.queue_of_replies(self._runtime.full_id(reply_to))
        try:
            result: Named = await live.requests.ask(
                target, body, headers, returns=returns, reply_to=replies, timeout=timeout, options=options
            )
        except TasukiError as error:
            raise for_user(error) from cause_for_user(error)
        return result

    async def call(self, function: str, *args: object) -> Any:
        """Call a function entry by id; its (first) result. Raises HandlerError, HandlerNotFoundError."""
        return await self._runtime.live().call_from(None, self._runtime.full_id(function), args)

    async def group(
        self,
        members: Iterable[Later],
        *,
        then: Follower | None = None,
        on_error: Follower | None = None,
        id: str | None = None,
    ) -> StartedGroup:
        """Publish messages that belong together, and one message when all of them are done.

        ``then`` and ``on_error`` are messages as they are (``jobs.message(body)``, ``total.message(1)``), or a queue
        (also by name) or a task: its body, or its first argument, is the list of the results in the order of the
        members; of ``on_error`` a dict with ``group``, ``kind``, ``message`` and ``retryable``.

        Args:
            members: messages of any queues: ``jobs.message(body)``, of a task ``send.message(url)``.
            then: published once, under the id ``group:<id>``, when all are done. Without members, at once.
            on_error: published once when the first one is given up: dead-lettered, discarded or cancelled.
            id: of the group; default a new one. A group that was started only in part is started again under its id.

        Raises:
            UnsupportedError: no queue of it has a state. PublishError: a message cannot be part of a group.
            PolicyDeniedError, QueueNotFoundError. DriverError: not all members may be published; start it again.
        """
        try:
            return await self._grouping().start(members, then, on_error, id)
        except TasukiError as error:
            raise for_user(error) from cause_for_user(error)

    async def signal(self, event: str, key: str | int, value: Any = True, *, actor: str | None = None) -> bool:
        """Give the value that messages wait for with ``context.wait_for(event, key, …)``; it may come before them.

        It goes into the state of all queues, and stays for 30 days. The first signal of an event and key counts.
        Waiting messages come at once on memory, SQLite, PostgreSQL and Redis; elsewhere they look for it, at first
        every second and later every minute.

        Args:
            event: its name, such as ``"approved"``: printable text.
            key: which case it is about, such as the number of an order.
            value: plain data of at most 64 KiB.
            actor: who, for the log; default the actor of the application, or the user and the host.

        Returns whether it is the first one.

        Raises:
            HandlerError: kind Invalid: the value is no plain data or too large, or the event or the key is none.
            PolicyDeniedError: the application may not. UnsupportedError: no queue has a state.
            DriverError: a store cannot be reached; signal again.
        """
        from tasuki.system.process import user_and_host

        live = self._runtime.live()
        return await live.signal_from(live.rights.application, actor or user_and_host(), event, key, value)

    def _grouping(self) -> Grouping:
        from tasuki.app.flow.groups import Grouping

        live = self._runtime.live()
        return Grouping(live, live.rights.application, self._runtime.full_id)

    def store(self, id: str) -> StoreHandle:
        """The store of an entry by id, for ``await``; the app must be open when its verbs are called.

        They raise HandlerError, and PolicyDeniedError where the application may not.
        """
        return StoreHandle(self._runtime.full_id(id), partial(self._runtime.use_store, id))

    @property
    def jobs(self) -> AppJobs:
        """Single messages: ``get``, ``cancel``, ``explain``, ``attempts``, ``dry_run``."""
        from tasuki.app.jobs import AppJobs

        return AppJobs(self)

    @property
    def dead(self) -> AppDead:
        """Dead letters: ``letters``, ``redrive``, ``edit``, ``undo_edit``, ``batches``."""
        from tasuki.app.dead import AppDead

        return AppDead(self._runtime)

    @property
    def schedules(self) -> AppSchedules:
        """Schedules: ``add``, ``list``, ``run_now``."""
        from tasuki.app.schedules.declaring import AppSchedules

        return AppSchedules(self)

    @property
    def workers(self) -> AppWorkers:
        """Workers: ``list``, ``pool``, ``pause``, ``resume``, ``scale``."""
        from tasuki.app.workers import AppWorkers

        return AppWorkers(self._runtime)

    @property
    def health(self) -> Health:
        """Whether messages move in this process: ``report``, ``response``."""
        return self._runtime.health

    @property
    def metrics(self) -> Meter:
        """The metrics of this process: ``snapshot``, ``response``, ``to_opentelemetry``."""
        return self._runtime.metrics

    def desk(
        self,
        *,
        token: str | None = None,
        hosts: Iterable[str] = (),
        actor: str = "",
        actor_header: str = "",
        proxies: Iterable[str] = (),
        is_open: bool = False,
        publish_rate: float = 100.0,
    ) -> Any:
        """The desk as an ASGI application, to be mounted in a web application that has this app open.

        Args:
            token: opens a session; needed unless a proxy names the actor, or the desk ``is_open``.
            hosts: names besides ``localhost`` that it answers to.
            actor: who acts, for policies and the log; default the user and the host of this process.
            actor_header: the header in which a proxy of ``proxies``, by address, names who acts.
            proxies: see ``actor_header``; they also say the client's address, and whether the browser speaks TLS.
            is_open: every client may act that gives a loopback name as its Host. A client chooses that name, so this is
                for web applications that only this machine reaches, or that ask who it is before.
            publish_rate: messages a second that one client may publish through its API.

        Raises:
            TasukiError: the extra tasuki[desk] is not installed. ValueError: it has no token and is not open, or
                the rate is out of bounds.
        """
        from tasuki.system.extras import require_extra

        require_extra()
        # By name: the desk is above the app.
        return import_module("tasuki.desk.desk").mount(
            self,
            token=token,
            hosts=hosts,
            actor=actor,
            actor_header=actor_header,
            proxies=proxies,
            is_open=is_open,
            publish_rate=publish_rate,
        )


def reader_of(app: App) -> App:
    """An app for inspection, to be opened and closed by itself; it creates and changes nothing at the brokers.

    It may be open on another event loop than ``app``, which goes on as it is. What ``app`` declares later is read at
    the copy's next ``open``.
    """
    reader = copy.copy(app)
    reader._runtime = app._runtime.reader()
    from tasuki.app.sync.running import SyncApp

    reader.sync = SyncApp(reader)
    return reader
