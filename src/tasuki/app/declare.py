"""Declarations in code: the same entries as in YAML, with the place in the Python source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tasuki.contracts.context import Retries
from tasuki.errors import HandlerError, InvalidEntryError, Position
from tasuki.handlers.providing.provider import type_of
from tasuki.handlers.signature import body_of, item_of
from tasuki.ids import resolve_id
from tasuki.queues.messages.body_type import BodyType
from tasuki.registry.entry import NO_COLON, NO_NAME, Entry
from tasuki.system.caller import caller

if TYPE_CHECKING:
    from tasuki.app.typed.entries import ConsumerFields
    from tasuki.drivers import DriverEntry

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
