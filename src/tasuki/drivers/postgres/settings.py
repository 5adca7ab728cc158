"""``queue.driver.postgres``."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qs, unquote

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from tasuki.drivers.toolkit.address import UNREADABLE, parts_of, servers_in, shown
from tasuki.fields.types import (
    DRIVER_PREFIX,
    Config,
    Count,
    DriverKind,
    LengthOptions,
    Positive,
    PositiveDuration,
    TlsConfig,
    check_agreement,
)

_MODES = ("disable", "require", "verify-ca", "verify-full")
"""Values of sslmode that say for certain whether a connection is encrypted."""
_SCHEME = re.compile(r"postgres(ql)?://")


def _address(value: object) -> SecretStr:
    # Checked here, because pydantic's errors would show the value.
    if not isinstance(value, str) or not (_SCHEME.match(value) or value.startswith("${env:")):
        raise ValueError("expected an address: postgresql://user:password@host:5432/database")
    if "${" not in value and (problem := _unreadable(value)):
        raise ValueError(problem)
    return SecretStr(value)


def _unreadable(url: str) -> str:
    """Why the client could not read the address, and the remedy, without any part of the address; empty if unknown."""
    if shown(url) == UNREADABLE:
        return (
            "the address cannot be read: ports are numbers up to 65535, hosts have commas between them, "
            "and : / ? # @ in a password are written %3A %2F %3F %23 %40"
        )
    ports = [port for given in parse_qs(parts_of(url).query).get("port", []) for port in given.split(",")]
    if any(port and not (port.isdecimal() and 0 < int(port) < 65536) for port in ports):
        return "the address cannot be read: port=… after the ? wants numbers up to 65535"
    return ""


SynchronousCommit = Literal["off", "local", "remote_write", "on", "remote_apply"]
Address = Annotated[SecretStr, BeforeValidator(_address, json_schema_input_type=str)]


class PostgresSettings(Config):
    """Queues in a PostgreSQL database: durable, shared by any number of processes, next to the data of an application.

    Messages can be published within a transaction of the application's own.
    """

    url: Address = SecretStr("postgresql://localhost:5432")
    """postgresql://user:password@host:5432/database, of a server or a pooler; ${env:NAME} keeps it out of the file.

    What it leaves out is as PostgreSQL's own variables say (PGUSER, PGPASSWORD, PGDATABASE).
    """
    listen_url: Address | None = None
    """Address of the server itself, not of a pooler: for the one connection that listens for new messages."""
    schema_: Annotated[str, Field(alias="schema", pattern=r"^[a-z_][a-z0-9_]{0,39}$")] = "tasuki"
    """Schema of the tables; made if it is missing."""
    pool_size: Positive = 5
    """Most connections for the work; one more listens, and one keeps leases."""
    poll_interval: PositiveDuration = 2.0
    """Longest time between two checks of an empty queue, by any of its waiting processes."""
    timeout: PositiveDuration = 10.0
    """Time within which the server must answer."""
    connect_timeout: PositiveDuration = 5.0
    """Time within which a connection must be made."""
    synchronous_commit: SynchronousCommit | None = None
    """What a commit waits for, as PostgreSQL's setting of the same name; default: the server's."""
    tls: TlsConfig | None = None
    """How connections are encrypted; not given: as the address says (sslmode), else verify-full beyond loopback."""

    @model_validator(mode="after")
    def _tls_agrees_with_the_addresses(self) -> PostgresSettings:
        for address in filter(None, (self.url, self.listen_url)):
            mode = parse_qs(parts_of(address.get_secret_value()).query).get("sslmode", [""])[-1]
            if mode in _MODES:
                check_agreement(self.tls, f"sslmode={mode}", is_encrypted=mode != "disable")
        return self


class PostgresQueueOptions(LengthOptions):
    """Options of a queue in PostgreSQL, which hold for all processes that publish to it."""

    max_length: Count | None = None
    """Most messages the queue may hold, exactly; 0: no limit."""
    synchronous_commit: SynchronousCommit | None = None
    """What a publish here waits for; off: a crash of the server loses the last moments; default: the driver's."""


def _place(config: PostgresSettings, _: Path) -> Hashable:
    parts = parts_of(config.url.get_secret_value())
    query = parse_qs(parts.query)
    hosts = parts.netloc.rpartition("@")[2] or query.get("host", [""])[-1]
    database = parts.path.strip("/") or query.get("dbname", [""])[-1] or parts.username or ""
    return servers_in(unquote(hosts), 5432), database, config.schema_


KIND = DriverKind(
    DRIVER_PREFIX + "postgres",
    PostgresSettings,
    driver="tasuki.drivers.postgres.driver:PostgresDriver",
    queue_options=PostgresQueueOptions,
    client="asyncpg",
    place=_place,
)
"""The kind."""
