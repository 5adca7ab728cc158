"""The entries of drivers as Python code writes them: ``App(Redis("redis://localhost", durability="broker"))``.

Importing them imports no broker's client, and no settings: the check of a project reads options here as in YAML.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import TYPE_CHECKING

from tasuki.system.caller import caller

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.drivers import typed


class DriverEntry:
    """A driver with its options, for :class:`tasuki.App` and ``app.entry``; a package's own driver may extend it.

    Args:
        kind: of the entry, such as ``queue.driver.redis``.
        options: its fields. The check of the project holds them to the kind, and reports them at the line of this call.
        address: by field, the value given by position; None: there is none.

    Raises:
        TypeError: the address is given twice.
    """

    def __init__(self, kind: str, options: Mapping[str, object], **address: object) -> None:
        self.kind = kind
        given = {field: value for field, value in address.items() if value is not None}
        if twice := sorted(given.keys() & options.keys()):
            raise TypeError(f"{type(self).__name__}(…) has {twice[0]!r} by position and by name: give it once")
        self.fields: Mapping[str, object] = {**given, **options}
        self.place = caller(self)

    def __repr__(self) -> str:
        return f"<{self.kind} of {self.place}>"  # without its fields, which may hold a password


class Memory(DriverEntry):
    """Queues in the memory of one process."""

    def __init__(self, **options: Unpack[typed.DriverFields]) -> None:
        super().__init__("queue.driver.memory", options)


class SQLite(DriverEntry):
    """Queues in a file; a relative ``path`` starts at the project's folder."""

    def __init__(self, path: str | PathLike[str] | None = None, /, **options: Unpack[typed.SQLiteDriverFields]) -> None:
        super().__init__("queue.driver.sqlite", options, path=None if path is None else fspath(path))


class RabbitMQ(DriverEntry):
    """Queues at RabbitMQ: ``amqp://user:password@host:port/vhost``."""

    def __init__(self, url: str | None = None, /, **options: Unpack[typed.AMQPDriverFields]) -> None:
        super().__init__("queue.driver.amqp", options, url=url)


class Redis(DriverEntry):
    """Queues at Redis or Valkey: ``redis://user:password@host:port/db``."""

    def __init__(self, url: str | None = None, /, **options: Unpack[typed.RedisDriverFields]) -> None:
        super().__init__("queue.driver.redis", options, url=url)


class SQS(DriverEntry):
    """Queues at Amazon SQS; ``config`` is the id of a ``config.aws`` entry with the region and the keys."""

    def __init__(self, **options: Unpack[typed.SQSDriverFields]) -> None:
        super().__init__("queue.driver.sqs", options)


class PostgreSQL(DriverEntry):
    """Queues in PostgreSQL: ``postgresql://user:password@host:port/database``."""

    def __init__(self, url: str | None = None, /, **options: Unpack[typed.PostgresDriverFields]) -> None:
        super().__init__("queue.driver.postgres", options, url=url)


class NATS(DriverEntry):
    """Queues at NATS with JetStream: ``nats://host:port``, several with commas or as a list."""

    def __init__(self, servers: str | list[str] | None = None, /, **options: Unpack[typed.NATSDriverFields]) -> None:
        super().__init__("queue.driver.nats", options, servers=servers)
