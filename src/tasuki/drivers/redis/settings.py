"""``queue.driver.redis``."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from tasuki.drivers.toolkit.address import UNREADABLE, far_hosts, redis_database, servers_in, shown
from tasuki.fields.types import (
    DRIVER_PREFIX,
    Config,
    Count,
    DriverKind,
    Flag,
    LengthOptions,
    PositiveDuration,
    Secret,
    Text,
    TlsConfig,
    at_field,
    check_agreement,
)

PORT = 6379
SENTINEL_PORT = 26379


class Server(NamedTuple):
    """A place to connect to: a host and a port, or the path of a Unix socket."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it is shown to people."""
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def servers(given: str | Sequence[str] | None, port: int) -> tuple[Server, ...]:
    """The servers of ``host:port``, several with commas or in a list. Raises ValueError for any other text."""
    texts = given.split(",") if isinstance(given, str) else given or ["localhost"]
    return tuple(_server(text.strip(), port) for text in texts)


def _server(text: str, port: int) -> Server:
    if text.startswith("/"):
        return Server(text, 0)
    try:
        parts = urlsplit(f"//{text}")
        host, given = parts.hostname, parts.port
    except ValueError:
        host, given = None, None
    if not host or parts.path or parts.username:
        raise ValueError("write host:port, several with commas or as a list; a user and a password have fields")
    return Server(host, given or port)


_ENCRYPTED = ("rediss", "valkeys")


def _url(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    if not url.startswith(("redis://", "rediss://", "valkey://", "valkeys://", "unix://")):
        raise ValueError("write redis://host:6379/0, rediss:// for TLS, or unix:///path")
    if shown(url) == UNREADABLE:
        raise ValueError("cannot be read; write redis://user:***@host:6379/0, and %2F for a / in a password")
    if not redis_database(urlsplit(url)).isdecimal():
        raise ValueError("it does not end with the number of a database; write redis://host:6379/0")
    return value


def _addrs(value: str | list[str]) -> str | list[str]:
    servers(value, PORT)
    return value


Addrs = Annotated[Text | Annotated[list[Text], Field(min_length=1)], AfterValidator(_addrs)]


class RedisSettings(Config):
    """Queues at Redis 6.2 or newer, or at Valkey: one server, one watched by Sentinels, or a cluster."""

    url: Annotated[Secret, AfterValidator(_url)] | None = None
    """redis://user:password@host:port/db, rediss:// with TLS, or unix:///path; or else addrs and the fields below."""
    addrs: Addrs | None = None
    """host:port, several with commas or as a list: the server, the Sentinels or the cluster; localhost:6379."""
    username: Text | None = None
    """The user; default: the user in the url."""
    password: Secret | None = None
    """The password; ${env:NAME} keeps it out of the file."""
    db: Count | None = None
    """The number of the database; 0 if not given."""
    client_name: Text | None = None
    """The name of the connections in CLIENT LIST."""
    master_name: Text | None = None
    """The name of the master at the Sentinels in addrs."""
    sentinel_username: Text | None = None
    """The user at the Sentinels."""
    sentinel_password: Secret | None = None
    """The password at the Sentinels."""
    is_cluster_mode: Flag = False
    """Whether the servers are a cluster."""
    tls: TlsConfig | None = None
    """How the connections are encrypted; rediss:// alone means: by the certificates of the system."""
    prefix: Text = "tasuki"
    """Prefix of the names of all keys; applications with different prefixes share a server."""
    claim_interval: PositiveDuration = 1.0
    """Time between checks of a process that waits alone; several share a check in 1½ of this time."""
    connect_timeout: PositiveDuration = 5.0
    """Longest time for connecting and logging in."""
    read_timeout: PositiveDuration = 10.0
    """Longest wait for an answer; then the connection is replaced."""

    @model_validator(mode="after")
    def _one_way_to_the_server(self) -> RedisSettings:
        if self.url is not None and self.addrs is not None:
            raise at_field("addrs", "url and addrs both say where the server is: give one of them")
        if self.is_cluster_mode and self.master_name:
            raise at_field("master_name", "a cluster has no Sentinels: give master_name or is_cluster_mode, not both")
        if self.is_cluster_mode and self.db:
            raise at_field("db", "a cluster has database 0 only")
        if self.master_name and self.url is not None:
            raise at_field("master_name", "give the addresses of the Sentinels in addrs, not a url")
        scheme = self.url.get_secret_value().partition("://")[0] if self.url is not None else ""
        if scheme in _ENCRYPTED:
            check_agreement(self.tls, f"{scheme}://", is_encrypted=True)
        return self


class RedisQueueOptions(LengthOptions):
    """Options of a queue at Redis: kept with the queue, for all processes; the last declaration wins."""

    max_length: Count | None = None
    """Most messages the queue may hold, ready, delayed and held ones; 0: no limit."""
    wait_replicas: Count | None = None
    """Replicas that must have a message before it is confirmed (WAIT), for a failover to one of them."""
    wait_fsync: Flag | None = None
    """Confirm a message once the server's log is on its disk (WAITAOF): power, whatever appendfsync says; Redis 7.2."""
    expires: Annotated[PositiveDuration, Field(ge=60)] | None = None
    """Time without use, a minute or more, after which the server deletes the queue with its messages."""


def _place(config: RedisSettings, _: Path) -> Hashable:
    url = urlsplit(config.url.get_secret_value() if config.url else "")
    given = ",".join(config.addrs) if isinstance(config.addrs, list) else config.addrs
    hosts = unquote(url.path) if url.scheme == "unix" else given or url.netloc.rpartition("@")[2]
    port = 26379 if config.master_name else 6379
    return servers_in(hosts, port), config.master_name, config.db or int(redis_database(url)), config.prefix


def _in_clear(config: RedisSettings) -> Sequence[str]:
    url = urlsplit(config.url.get_secret_value() if config.url else "")
    has_password = bool(config.password or config.sentinel_password or url.password)
    if not has_password or url.scheme in (*_ENCRYPTED, "unix") or (config.tls is not None and config.tls.enabled):
        return []
    given = ",".join(config.addrs) if isinstance(config.addrs, list) else config.addrs
    return far_hosts(given or url.netloc.rpartition("@")[2])


KIND = DriverKind(
    DRIVER_PREFIX + "redis",
    RedisSettings,
    driver="tasuki.drivers.redis.driver:RedisDriver",
    queue_options=RedisQueueOptions,
    client="hiredis",
    place=_place,
    in_clear=_in_clear,
)
