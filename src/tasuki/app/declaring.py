"""Declaring: what an App declares in code, with fields that mypy and pyright check."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, overload

from tasuki.app.declare import name_of
from tasuki.app.guesses import NOT_A_SYNC_BLOCK, OF_APP, Guessed
from tasuki.app.handle import QueueHandle, id_of
from tasuki.app.hooks.declaring import DeclaringHooks
from tasuki.app.messaging import Messaging
from tasuki.app.schedules.declaring import DeclaringSchedules
from tasuki.errors import TasukiError
from tasuki.handlers.body import register

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.app.tasks.options import TaskRules
    from tasuki.app.typed import entries as e
    from tasuki.app.typed.options import Named
    from tasuki.contracts.context import Around
    from tasuki.drivers import DriverEntry
    from tasuki.drivers import typed as d
    from tasuki.handlers.providing.provider import Scope
    from tasuki.kinds.check.project import Project

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


class Declaring(Guessed, Messaging, DeclaringHooks, DeclaringSchedules):
    """The half of an App that declares entries."""

    guesses = OF_APP
    around: Around | None = None
    """Makes of each Python function the one that is called in its place; from the next ``open`` on."""
    prepare_child: str | None = None
    """Import path of a function that each process of ``isolation: process`` calls before it imports a handler.

    It returns the ``around`` of that process, or None.
    """

    if not TYPE_CHECKING:  # a type checker reports the block itself

        def __enter__(self) -> NoReturn:
            raise TypeError(NOT_A_SYNC_BLOCK)

        def __exit__(self, *exc: object) -> None:  # Python looks for both before it calls one
            """Never called."""

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
        return QueueHandle(self, self._source.queue(name, fields, body))

    if TYPE_CHECKING:

        def check(self) -> Project:
            """See :meth:`tasuki.app.app.App.check`."""

    def asyncapi(self, *, title: str | None = None, version: str | None = None) -> dict[str, Any]:
        """The AsyncAPI 3.1 document of this app, as plain data; see :func:`tasuki.kinds.asyncapi.document.asyncapi_of`.

        Raises:
            ProjectError: all problems at once.
        """
        from tasuki.kinds.asyncapi.document import asyncapi_of

        return asyncapi_of(self.check(), title=title, version=version)

    def first_consumer(self) -> str | None:
        """Id of the first consumer that is declared in code; None: there is none."""
        kinds = ((entry.kind, entry.id) for entry in self._source.declared.entries)
        return next((id for kind, id in kinds if kind == "queue.consumer"), None)

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
            self._source.declared.add_function(given or name_of(function), function)
            return function

        return declare if name is None or isinstance(name, str) else declare(name)

    def middleware(self, function: F) -> F:
        """Declare the decorated function as ``middleware.python``, under its own name; it stays as it is."""
        self._source.declared.add(name_of(function), "middleware.python", {}, target=function)
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
            self._source.declared.add(name or name_of(function), "provider.python", fields, target=function)
            return function

        return declare if function is None else declare(function)

    def provided_types(self) -> Container[Any]:
        """The types of the providers declared in code."""
        return self._source.declared.provided()

    def converter(self, type_: type[T], to: Callable[[T], object], from_: Callable[[Any], T]) -> None:
        """Let bodies, arguments and results carry a type of your own, in this process.

        Args:
            type_: the class; subclasses are sent like it.
            to: a value as something that a body carries: a text, a number, a dict.
            from_: the same back from that; it raises ValueError or TypeError for any other data.

        Raises:
            TasukiError: bodies carry the type already, by themselves or by another converter.
        """
        try:
            register(type_, to, from_)
        except ValueError as error:
            raise TasukiError(str(error)) from error

    def declare_consumer(
        self, queue: str, function: Callable[..., object], name: str | None, fields: e.ConsumerFields
    ) -> None:
        """Declare a function and the consumer that calls it; ``QueueHandle.consumer`` is the decorator for it."""
        self._source.declared.add_consumer(queue, function, name, fields)

    def declare_task(
        self, queue: str, function: Callable[..., object], rules: TaskRules, inject: tuple[object, ...] = ()
    ) -> str:
        """Declare a task of a queue; returns its name. ``QueueHandle.task`` is the decorator for it."""
        return self._source.tasks.add(queue, function, rules, inject)

    def declare_workers(self, queue: str, fields: e.ConsumerFields) -> str:
        """Give the consumer of a queue's tasks its fields; returns its id; see ``QueueHandle.workers``."""
        return self._source.tasks.add_workers(queue, fields)

    def worker_pool(self, name: str, queues: Sequence[str | QueueHandle[Any]], **fields: Unpack[e.WorkerFields]) -> str:
        """Let the consumers of these queues share their workers; returns the id of the entry, a ``queue.worker``.

        Args:
            name: of the entry.
            queues: by name, id or handle; with ``order="strict"`` the most urgent one first.
            fields: the fields of ``queue.worker``: concurrency, order, weights (by name or id of the queue).
        """
        return self._source.declared.add(name, "queue.worker", {"queues": [*map(id_of, queues)], **fields}).id

    def meters(self, provider: object = None, /) -> str:
        """Give metrics to OpenTelemetry's meters; returns the id of the entry, a ``metrics.config``.

        ``provider``: the MeterProvider; None: the application's global one.
        """
        return self._source.declared.add("metrics", "metrics.config", {"opentelemetry": True}, target=provider).id

    def traces(self, provider: object = None, /, **fields: Unpack[e.TracesFields]) -> str:
        """Record spans of messages with OpenTelemetry; returns the id of the entry, a ``traces.config``.

        Args:
            provider: the TracerProvider of the spans; None: the application's global one.
            fields: the fields of ``traces.config``: sample, attach, create, receive, baggage, body_size, process.
        """
        return self._source.declared.add("traces", "traces.config", {**fields}, target=provider).id

    @overload
    def entry(self, name: str, kind: Literal["queue.driver.memory"], /, **fields: Unpack[d.DriverFields]) -> str: ...
    @overload
    def entry(
        self, name: str, kind: Literal["queue.driver.sqlite"], /, **fields: Unpack[d.SQLiteDriverFields]
    ) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["queue.driver.amqp"], /, **fields: Unpack[d.AMQPDriverFields]) -> str: ...
    @overload
    def entry(
        self, name: str, kind: Literal["queue.driver.redis"], /, **fields: Unpack[d.RedisDriverFields]
    ) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["queue.driver.sqs"], /, **fields: Unpack[d.SQSDriverFields]) -> str: ...
    @overload
    def entry(
        self, name: str, kind: Literal["queue.driver.postgres"], /, **fields: Unpack[d.PostgresDriverFields]
    ) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["queue.driver.nats"], /, **fields: Unpack[d.NATSDriverFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["queue.queue"], /, **fields: Unpack[e.QueueFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["queue.consumer"], /, **fields: Unpack[e.ConsumerEntryFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["queue.schedule"], /, **fields: Unpack[e.ScheduleEntryFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["function.lua"], /, **fields: Unpack[e.LuaFunctionFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["queue.worker"], /, **fields: Unpack[e.WorkerEntryFields]) -> str: ...

    @overload
    def entry(
        self, name: str, kind: Literal["function.python"], /, **fields: Unpack[e.PythonFunctionFields]
    ) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["middleware.python"], /, **fields: Unpack[e.PythonCodeFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["provider.python"], /, **fields: Unpack[e.ProviderFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["hook.python"], /, **fields: Unpack[e.HookFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["library.lua"], /, **fields: Unpack[e.LuaLibraryFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["store.memory"], /, **fields: Unpack[e.MemoryStoreFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["store.sqlite"], /, **fields: Unpack[e.DriverStoreFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["store.postgres"], /, **fields: Unpack[e.DriverStoreFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["store.redis"], /, **fields: Unpack[e.DriverStoreFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["store.nats"], /, **fields: Unpack[e.DriverStoreFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["env.variable"], /, **fields: Unpack[e.EnvVariableFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["env.storage.memory"], /, **fields: Unpack[e.EnvMemoryFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["env.storage.os"], /, **fields: Unpack[e.EnvMemoryFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["env.storage.static"], /, **fields: Unpack[e.EnvStaticFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["env.storage.router"], /, **fields: Unpack[e.EnvRouterFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["env.storage.file"], /, **fields: Unpack[e.EnvFileFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["config.aws"], /, **fields: Unpack[e.AwsFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["security.policy"], /, **fields: Unpack[e.PolicyFields]) -> str: ...
    @overload
    def entry(
        self, name: str, kind: Literal["security.policy.expr"], /, **fields: Unpack[e.ExpressionPolicyFields]
    ) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["traces.config"], /, **fields: Unpack[e.TracesFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["security.config"], /, **fields: Unpack[e.SecurityFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["metrics.config"], /, **fields: Unpack[e.MetricsFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: Literal["health.config"], /, **fields: Unpack[e.HealthFields]) -> str: ...
    @overload
    def entry(self, name: str, kind: str, fields: Mapping[str, object], /) -> str: ...
    @overload
    def entry(self, name: str, driver: DriverEntry, /) -> str: ...
    def entry(
        self, name: str, kind: str | DriverEntry, fields: Mapping[str, object] | None = None, /, **more: object
    ) -> str:
        """Declare an entry of any kind, such as ``store.memory``; returns its id.

        Give the fields of built-in kinds by name, where type checkers know them, and the fields of another package's
        kind as a mapping. A driver may be one of :mod:`tasuki.drivers`.
        """
        if not isinstance(kind, str):
            return self._source.declared.add_driver(name, kind).id
        return self._source.declared.add(name, kind, {**(fields or {}), **more}).id
