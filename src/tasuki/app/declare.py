"""Declarations in code: the same entries as in YAML, with the place in the Python source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, overload
from urllib.parse import unquote, urlsplit

from tasuki.contracts.context import Retries
from tasuki.errors import HandlerError, InvalidEntryError, Position
from tasuki.handlers.providing.provider import type_of
from tasuki.handlers.signature import body_of, item_of
from tasuki.ids import name_for, resolve_id
from tasuki.queues.messages.body_type import BodyType
from tasuki.registry.entry import INJECT, NO_COLON, NO_NAME, Entry
from tasuki.system.caller import caller

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.app.tasks.options import TaskRules
    from tasuki.app.typed import entries as e
    from tasuki.app.typed.entries import ConsumerFields
    from tasuki.drivers import DriverEntry
    from tasuki.drivers import typed as d


DRIVER = "driver"
"""Name of the entry of an App's own driver."""


_SCHEMES = {"rediss": "redis", "valkey": "redis", "amqps": "amqp", "postgresql": "postgres", "tls": "nats"}

_MISNAMED = {
    "rabbitmq": "amqp",
    "pyamqp": "amqp",
    "rabbit": "amqp",
    "pg": "postgres",
    "psql": "postgres",
    "sqla": "sqlite",
}

SCHEMES = ("memory", "sqlite", "redis", "amqp", "postgres", "nats", "sqs", *_SCHEMES)
"""The schemes of URLs of the drivers in this package."""

_FIELDS = {"nats": "servers"}
"""The field for the address, of drivers without ``url``."""


class Declarations:
    """The entries of one code app, in the order of declaration."""

    def __init__(self, namespace: str) -> None:
        if ":" in namespace:
            raise InvalidEntryError(f"{namespace!r} is not a valid namespace", position=caller(), hint=NO_COLON)
        self.namespace = namespace
        self.entries: list[Entry] = []
        self.on_change: Callable[[], None] = _nothing
        """Called when an entry was declared, or has other fields."""
        self._ids: dict[str, Entry] = {}
        self._bodies: dict[str, BodyType] = {}

    def id_of(self, name: str) -> str:
        """The full id of a name in this app."""
        return resolve_id(name, self.namespace)

    def get(self, id: str) -> Entry | None:
        """The entry declared under this id."""
        return self._ids.get(id)

    def free_name(self, name: str) -> str:
        """The name, with a number if it is taken."""
        names = (name, *(f"{name}-{number}" for number in range(2, len(self.entries) + 3)))
        return next(name for name in names if self.get(self.id_of(name)) is None)

    def add(
        self,
        name: str,
        kind: str,
        data: Mapping[str, Any],
        *,
        target: Any = None,
        meta: Mapping[str, Any] | None = None,
        place: Position | None = None,
    ) -> Entry:
        """Declare an entry; without a ``place`` it is the nearest line outside this package.

        The check reports duplicates.
        """
        place = place or caller()
        if isinstance(retry := data.get("retry"), Retries):
            data = {**data, "retry": retry.fields()}
        entry = self._append(
            Entry(self.id_of(name), kind, dict(data), meta or {}, positions={(): place}, target=target)
        )
        self.on_change()
        return entry

    def _append(self, entry: Entry) -> Entry:
        self.entries.append(entry)
        self._ids.setdefault(entry.id, entry)
        return entry

    def add_driver(self, name: str, driver: DriverEntry) -> Entry:
        """Declare a driver, at the place where it was written."""
        return self.add(name, driver.kind, driver.fields, place=driver.place)

    def add_queue(self, id: str, fields: dict[str, Any], url: str) -> None:
        """Declare a queue; without a driver it is on the app's own, which is declared with the first such queue.

        Raises:
            InvalidEntryError: ``url``, the driver's, is not one.
        """
        if "driver" not in fields:
            fields = {**fields, "driver": self.id_of(DRIVER)}
            if self.get(fields["driver"]) is None:
                self.add(DRIVER, *driver_of_url(url))
        self.add(id, "queue.queue", fields)

    def add_body(self, id: str, type_: Any) -> None:
        """Declare the type of a queue's bodies, wherever the queue itself is declared.

        Raises:
            InvalidEntryError: the queue has another body type already.
        """
        body = BodyType(type_, caller())
        if (known := self._bodies.setdefault(id, body)) != body:
            raise InvalidEntryError(
                f"its body type is {body} here, and {known} at {known.place}",
                position=body.place,
                entry=id,
                hint="give both the same type, or a union of the two",
            )
        self.on_change()

    def with_bodies(self, entries: Iterable[Entry]) -> dict[str, Entry]:
        """The entries by id; queues with the type of their bodies as ``target``, as far as it is known here."""
        bodies = {**self._bodies_of_consumers(), **self._bodies}
        return {
            entry.id: replace(entry, target=bodies[entry.id])
            if entry.kind == "queue.queue" and entry.id in bodies
            else entry
            for entry in entries
        }

    def _bodies_of_consumers(self) -> dict[str, BodyType]:
        """The type that all consumers of a queue read, of those declared here; by the id of the queue."""
        found: dict[str, list[BodyType]] = {}
        for entry in self.entries:
            if entry.kind == "queue.consumer":
                queue, func = (self.id_of(str(entry.data.get(field))) for field in ("queue", "func"))
                target = None if (function := self.get(func)) is None else function.target
                type_ = Any if target is None or entry.data.get("funcs") else body_of(target, self.provided())
                if entry.data.get("batch"):
                    type_ = Any if (item := item_of(type_)) is None else item
                found.setdefault(queue, []).append(BodyType(type_, entry.positions[()]))
        return {
            queue: bodies[0]
            for queue, bodies in found.items()
            if bodies[0].type_ is not Any and all(body == bodies[0] for body in bodies)
        }

    def first_consumer(self) -> str | None:
        """Id of the first consumer; None: there is none."""
        return next((entry.id for entry in self.entries if entry.kind == "queue.consumer"), None)

    def provided(self) -> set[Any]:
        """The types of the providers declared here; the check reports those that say none."""
        found = set()
        for entry in self.entries:
            if entry.kind == "provider.python" and callable(entry.target):
                with suppress(HandlerError):
                    found.add(type_of(entry.target))
        return found

    def add_dead_letters(self) -> None:
        """Declare each named but undeclared dead-letter queue, on the driver of the queue that names it."""
        for entry in list(self.entries):
            wanted = entry.data.get("dead_letter") if entry.kind == "queue.queue" else None
            wanted = wanted.get("queue") if isinstance(wanted, dict) else wanted
            if isinstance(wanted, str) and wanted and self.get(id := self.id_of(wanted)) is None:
                place = entry.positions[()]
                self._append(Entry(id, "queue.queue", {"driver": entry.data["driver"]}, {}, positions={(): place}))

    def add_function(self, name: str, function: Callable[..., object]) -> Entry:
        """Declare a function, once under each name."""
        declared = self.get(self.id_of(name))
        if declared is not None and declared.target is function:
            return declared
        return self.add(name, "function.python", {}, target=function)

    def add_consumer(
        self, queue: str, function: Callable[..., object], name: str | None, fields: ConsumerFields
    ) -> None:
        """Declare a function and the consumer that calls it, which starts with the app."""
        own_name = name_of(function)
        taken = self.get(self.id_of(own_name))
        is_of_a_queue = taken is not None and taken.kind == "queue.queue"  # a queue and a function may share a name
        func = self.add_function(f"{own_name}.handler" if is_of_a_queue else own_name, function)
        lifecycle = lifecycle_of_code(fields.get("lifecycle", {}))
        data = {**fields, "queue": queue, "func": func.id, "lifecycle": lifecycle}
        if name is None:
            name = f"{own_name}.consumer"
            if self.get(self.id_of(name)) is not None:  # the same function for another queue
                name = f"{own_name}.{queue.partition(':')[2]}.consumer"
        self.add(name, "queue.consumer", data)


def _nothing() -> None:
    """No app is open."""


def lifecycle_of_code(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The lifecycle of a consumer that is declared in code: it starts with the app."""
    return {"auto_start": True, **fields}


def driver_of_url(url: str) -> tuple[str, dict[str, Any]]:
    """Kind and fields of the driver entry for a URL.

    ``memory://`` · ``sqlite://`` (``.tasuki/queue.db``) · ``sqlite:///relative.db`` · ``sqlite:////absolute.db`` ·
    a broker's own URL, which becomes the field ``url`` of ``queue.driver.<scheme>`` (``servers`` of NATS).

    Raises:
        InvalidEntryError: not a URL.
    """
    scheme, colon, _ = url.partition("://")
    if not colon or not scheme:
        hint = "write it like memory://, sqlite:///queue.db or redis://localhost:6379"
        raise InvalidEntryError(f"{_shown(url)} is not a URL", position=caller(), hint=hint)
    if right := _misnamed(scheme):
        problem = f"no driver has URLs that begin with {scheme}://"
        raise InvalidEntryError(problem, position=caller(), hint=f"write {right}://")
    if scheme == "memory":
        return "queue.driver.memory", {}
    if scheme == "sqlite":
        parts = urlsplit(url)
        if parts.netloc:
            raise InvalidEntryError(
                f"{url!r} names a host, and SQLite has none",
                position=caller(),
                hint=f"write a relative path with three slashes: sqlite:///{parts.netloc}{parts.path}",
            )
        path = unquote(parts.path.removeprefix("/"))
        return "queue.driver.sqlite", {"path": path} if path else {}
    driver = _SCHEMES.get(scheme, scheme)
    return f"queue.driver.{driver}", {_FIELDS.get(driver, "url"): url}


def _misnamed(scheme: str) -> str:
    """The scheme that a driver has, for the one that another library has; empty for all others."""
    plain = scheme.partition("+")[0]  # postgresql+asyncpg of SQLAlchemy, sqla+sqlite of Celery
    return _MISNAMED.get(plain, plain if plain != scheme else "")


def _shown(text: str) -> str:
    """A text that is not a URL, without the part that may hold a password."""
    return repr(f"***@{text.rpartition('@')[2]}" if "@" in text else text)


def name_of(function: Callable[..., object]) -> str:
    """The name that a decorated function is declared under."""
    name = getattr(function, "__name__", None) or type(function).__name__
    return name if name.isidentifier() else NO_NAME


class EntryDeclarer:
    """Declares entries; see its call."""

    def __init__(self, declared: Declarations) -> None:
        self._declared = declared

    @overload
    def __call__(self, name: str, kind: Literal["queue.driver.memory"], /, **fields: Unpack[d.DriverFields]) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["queue.driver.sqlite"], /, **fields: Unpack[d.SQLiteDriverFields]
    ) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["queue.driver.amqp"], /, **fields: Unpack[d.AMQPDriverFields]
    ) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["queue.driver.redis"], /, **fields: Unpack[d.RedisDriverFields]
    ) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["queue.driver.sqs"], /, **fields: Unpack[d.SQSDriverFields]) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["queue.driver.postgres"], /, **fields: Unpack[d.PostgresDriverFields]
    ) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["queue.driver.nats"], /, **fields: Unpack[d.NATSDriverFields]
    ) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["queue.queue"], /, **fields: Unpack[e.QueueFields]) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["queue.consumer"], /, **fields: Unpack[e.ConsumerEntryFields]
    ) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["queue.schedule"], /, **fields: Unpack[e.ScheduleEntryFields]
    ) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["function.lua"], /, **fields: Unpack[e.LuaFunctionFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["queue.worker"], /, **fields: Unpack[e.WorkerEntryFields]) -> str: ...

    @overload
    def __call__(
        self, name: str, kind: Literal["function.python"], /, **fields: Unpack[e.PythonFunctionFields]
    ) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["middleware.python"], /, **fields: Unpack[e.PythonCodeFields]
    ) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["provider.python"], /, **fields: Unpack[e.ProviderFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["hook.python"], /, **fields: Unpack[e.HookFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["library.lua"], /, **fields: Unpack[e.LuaLibraryFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["store.memory"], /, **fields: Unpack[e.MemoryStoreFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["store.sqlite"], /, **fields: Unpack[e.DriverStoreFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["store.postgres"], /, **fields: Unpack[e.DriverStoreFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["store.redis"], /, **fields: Unpack[e.DriverStoreFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["store.nats"], /, **fields: Unpack[e.DriverStoreFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["env.variable"], /, **fields: Unpack[e.EnvVariableFields]) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["env.storage.memory"], /, **fields: Unpack[e.EnvMemoryFields]
    ) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["env.storage.os"], /, **fields: Unpack[e.EnvMemoryFields]) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["env.storage.static"], /, **fields: Unpack[e.EnvStaticFields]
    ) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["env.storage.router"], /, **fields: Unpack[e.EnvRouterFields]
    ) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["env.storage.file"], /, **fields: Unpack[e.EnvFileFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["config.aws"], /, **fields: Unpack[e.AwsFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["security.policy"], /, **fields: Unpack[e.PolicyFields]) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["security.policy.expr"], /, **fields: Unpack[e.ExpressionPolicyFields]
    ) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["traces.config"], /, **fields: Unpack[e.TracesFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["security.config"], /, **fields: Unpack[e.SecurityFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["metrics.config"], /, **fields: Unpack[e.MetricsFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["health.config"], /, **fields: Unpack[e.HealthFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: str, fields: Mapping[str, object], /) -> str: ...
    @overload
    def __call__(self, name: str, driver: DriverEntry, /) -> str: ...
    def __call__(
        self, name: str, kind: str | DriverEntry, fields: Mapping[str, object] | None = None, /, **more: object
    ) -> str:
        """Declare an entry of any kind, such as ``store.memory``; returns its id.

        Give the fields of built-in kinds by name, where type checkers know them, and the fields of another package's
        kind as a mapping. A driver may be one of :mod:`tasuki.drivers`.
        """
        if not isinstance(kind, str):
            return self._declared.add_driver(name, kind).id
        return self._declared.add(name, kind, {**(fields or {}), **more}).id


class DeclaredTasks:
    """The tasks of an app, and the consumers that have them.

    A queue's consumer is called ``<queue>.workers``, the function of a task ``<queue>.task.<name>``: its own name,
    as a task may be called like another queue's last part (``dead``).
    """

    def __init__(self, declared: Declarations) -> None:
        self._declared = declared
        self._workers: dict[str, Entry] = {}

    def add_workers(self, queue: str, fields: Mapping[str, Any]) -> str:
        """Give the consumer of a queue's tasks its fields; returns its id.

        Raises:
            InvalidEntryError: that was done already.
        """
        entry = self._workers_of(queue)
        if entry.data.keys() - {"queue", "funcs", "lifecycle"} or entry.data["lifecycle"] != lifecycle_of_code({}):
            raise entry.error("the workers of this queue have their options already", hint="give them all in one call")
        _data_of(entry).update({**fields, "lifecycle": lifecycle_of_code(fields.get("lifecycle", {}))})
        self._declared.on_change()
        return entry.id

    def add(
        self, queue: str, function: Callable[..., object], rules: TaskRules, inject: tuple[object, ...] = ()
    ) -> str:
        """Declare a function as a task of a queue, with types that it says are provided; returns the task's name.

        Raises:
            InvalidEntryError: the queue has a task of this name already.
        """
        name, entry = rules.get("name") or name_of(function), self._workers_of(queue)
        place, funcs = caller(), entry.data["funcs"]
        if name in funcs:
            raise InvalidEntryError(
                f"queue {queue!r} has a task {name!r} already, declared at {entry.positions['funcs', name]}",
                position=place,
                entry=entry.id,
                hint=f"give one of them another name: @….task(name={name + '2'!r})",
            )
        namespace, _, own = queue.rpartition(":")
        id = f"{namespace}:{name_for(name, f'{own}.task.')}" if namespace else name_for(name, f"{own}.task.")
        self._declared.add(id, "function.python", {}, target=function, meta={INJECT: inject} if inject else None)
        funcs[name] = {"func": id, **self._rules(id, rules)}
        entry.positions["funcs", name] = place  # type: ignore[index]
        self._declared.on_change()
        return name

    def _rules(self, id: str, rules: TaskRules) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if (retry := rules.get("retry")) is not None:
            found["retry"] = retry.fields() if isinstance(retry, Retries) else retry
        if (timeout := rules.get("handler_timeout")) is not None:
            found["handler_timeout"] = timeout
        if (idempotency := rules.get("idempotency")) is not None:
            found["idempotency"] = idempotency
        if (give_up := rules.get("on_give_up")) is not None:
            found["on_give_up"] = self._declared.add(f"{id}.on_give_up", "function.python", {}, target=give_up).id
        return found

    def _workers_of(self, queue: str) -> Entry:
        if queue not in self._workers:
            data = {"queue": queue, "funcs": {}, "lifecycle": lifecycle_of_code({})}
            self._workers[queue] = self._declared.add(f"{queue}.workers", "queue.consumer", data)
        return self._workers[queue]


def _data_of(entry: Entry) -> dict[str, Any]:
    assert isinstance(entry.data, dict)
    return entry.data
