"""``queue.driver.mariadb``."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, model_validator

from tasuki.drivers.toolkit.address import UNREADABLE, parts_of, servers_in, shown
from tasuki.fields.types import (
    DRIVER_PREFIX,
    Config,
    DriverKind,
    LengthOptions,
    Positive,
    PositiveDuration,
    Secret,
    TlsConfig,
    at_field,
)

PORT = 3306


def _url(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    if not url.startswith("mariadb://") or shown(url) == UNREADABLE:
        raise ValueError("write mariadb://user:***@host:3306/database, and %2F %3A %40 for / : @ in a password")
    if not parts_of(url).path.strip("/"):
        raise ValueError("it names no database; write mariadb://user:***@host:3306/database")
    return value


class MariaDbSettings(Config):
    """Queues in a MariaDB database, 10.6 or newer: durable, shared by any number of processes."""

    url: Annotated[Secret, AfterValidator(_url)]
    """mariadb://user:password@host:3306/database; ${env:NAME} keeps it out of the file."""
    prefix: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,39}$")] = "tasuki"
    """Prefix of the tables, which are made if they are missing."""
    pool_size: Positive = 5
    """Most connections for the work; one more polls for new messages, and one keeps leases."""
    poll_interval: PositiveDuration = 0.2
    """Time between two polls for messages of other processes."""
    timeout: PositiveDuration = 10.0
    """Time within which the server must answer."""
    connect_timeout: PositiveDuration = 5.0
    """Time within which a connection must be made."""
    tls: TlsConfig | None = None
    """How connections are encrypted; not given: by the certificates of the system, and not at all on loopback."""

    @model_validator(mode="after")
    def _the_client_checks_the_host(self) -> MariaDbSettings:
        if self.tls is not None and self.tls.server_name:
            raise at_field("tls", "the client checks the certificate for the host of the url: remove server_name")
        return self


def _place(config: MariaDbSettings, _: Path) -> Hashable:
    parts = parts_of(config.url.get_secret_value())
    return servers_in(parts.netloc.rpartition("@")[2], PORT), parts.path.strip("/"), config.prefix


KIND = DriverKind(
    DRIVER_PREFIX + "mariadb",
    MariaDbSettings,
    contract=6,
    driver="tasuki_mariadb.driver:MariaDbDriver",
    queue_options=LengthOptions,
    place=_place,
)
"""The kind."""
