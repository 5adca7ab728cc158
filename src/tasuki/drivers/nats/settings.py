"""``queue.driver.nats``."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from tasuki.drivers.toolkit.address import UNREADABLE, far_hosts, servers_in, shown
from tasuki.fields.types import (
    DRIVER_PREFIX,
    Config,
    Count,
    DriverKind,
    Flag,
    Positive,
    PositiveDuration,
    PositiveSize,
    ProjectFile,
    Secret,
    Text,
    TlsConfig,
    at_field,
    check_agreement,
)
from tasuki.units import format_duration

_SCHEMES = ("nats://", "tls://")
DEFAULT_SERVER = "nats://localhost:4222"


def _server(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(_SCHEMES):
        raise ValueError("write nats://host:4222, or tls:// for TLS")
    if shown(value.get_secret_value()) == UNREADABLE:
        raise ValueError("cannot be read; write nats://host:4222, or tls:// for TLS")
    return value


def _servers(value: object) -> object:
    """One address, several with commas, or a list."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


Server = Annotated[Secret, AfterValidator(_server)]
Servers = Annotated[
    list[Server],
    Field(min_length=1),
    BeforeValidator(_servers, json_schema_input_type=str | list[str]),
]


class NATSSettings(Config):
    """Queues in the JetStream of NATS 2.10 or newer: one server or a cluster."""

    other_names: ClassVar = {"url": "did you mean 'servers'?"}

    servers: Servers | None = None
    """nats://host:port, or tls://; the servers of one cluster with commas or as a list; default: nats://localhost:4222."""
    stream_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "tasuki"
    """Prefix of the names of all streams and subjects; applications with different prefixes share a server."""
    user: Text | None = None
    """The user."""
    password: Secret | None = None
    """The password; ${env:NAME} keeps it out of the file."""
    token: Secret | None = None
    """A token in place of user and password."""
    credentials_file: ProjectFile | None = None
    """File with the user's JWT and seed (.creds)."""
    nkey_seed_file: ProjectFile | None = None
    """File with the seed of the user's NKey."""
    tls: TlsConfig | None = None
    """How the connections are encrypted; tls:// alone means: by the certificates of the system."""
    replicas: Annotated[Positive, Field(le=5)] = 1
    """Number of servers of the cluster that keep each message; for new streams."""
    storage: Literal["file", "memory"] = "file"
    """Where the server keeps messages; memory: they are gone when it stops."""
    server_sync: Literal["always"] | None = None
    """always: the server's configuration says sync_interval: always, so that confirmed survives a power loss."""
    monitoring: Text | None = None
    """http://host:8222 of the server, to read that setting."""
    connection_name: Text = "tasuki"
    """The name of the connections at the server."""
    connect_timeout: PositiveDuration = 5.0
    """Longest time for connecting to one server."""
    timeout: PositiveDuration = 10.0
    """Longest wait for an answer; then the connection is replaced."""
    inbox_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")] = "_INBOX"
    """Prefix of the subjects on which the server answers, for a user who may not subscribe to _INBOX.>."""
    domain: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] | None = None
    """The JetStream domain that has the queues, as behind a leaf node; default: the server's."""
    tls_first: Flag = False
    """Encrypt before the server says anything: for servers with handshake_first."""

    @model_validator(mode="after")
    def _one_way_to_log_in(self) -> NATSSettings:
        given = [
            name for name in ("user", "token", "credentials_file", "nkey_seed_file") if getattr(self, name) is not None
        ]
        if len(given) > 1:
            raise at_field(given[1], f"{' and '.join(given)} are several ways to log in: give one of them")
        if (self.user is None) != (self.password is None):
            raise at_field("user", "user and password belong together: give both, or neither")
        if any(server.get_secret_value().startswith("tls://") for server in self.servers or ()):
            check_agreement(self.tls, "tls://", is_encrypted=True)
        return self

    @model_validator(mode="after")
    def _tls_first_encrypts(self) -> NATSSettings:
        is_tls = self.tls is not None and self.tls.enabled
        if self.tls_first and not (is_tls or _are_encrypted(self.servers)):
            raise at_field("tls_first", "tls_first needs encryption: write tls:// in servers, or give tls")
        return self


def _are_encrypted(servers: list[SecretStr] | None) -> bool:
    return bool(servers) and all(server.get_secret_value().startswith("tls://") for server in servers or ())


class NATSQueueOptions(Config):
    """Options of a queue at NATS: settings of its stream."""

    max_length: Count | None = None
    """Most messages the queue may hold; 0: no limit."""
    max_bytes: PositiveSize | None = None
    """Most bytes of all its messages, with their headers: a full stream refuses new ones; not given: no limit."""
    storage: Literal["file", "memory"] | None = None
    """Where the server keeps its messages; default: the driver's; cannot be changed later."""
    replicas: Annotated[Positive, Field(le=5)] | None = None
    """Number of servers of the cluster that keep each message; default: the driver's."""
    message_ttl: PositiveDuration | None = None
    """Age at which the server silently deletes a message, even a delayed one: give more than the longest delay."""
    partitions: Annotated[Positive, Field(le=64)] | None = None
    """With ordering: key, how many keys can be handled at the same time; 16; cannot be changed later."""


def _place(config: NATSSettings, _: Path) -> Hashable:
    """Who logs in says which account it is, and each account has queues of its own."""
    urls = [server.get_secret_value() for server in config.servers or ()]
    hosts = ",".join(urlsplit(url).netloc.rpartition("@")[2] for url in urls)
    users = frozenset(name for url in urls if (name := urlsplit(url).username))
    account = config.user, config.token, config.credentials_file, config.nkey_seed_file, users
    return servers_in(hosts, 4222), account, config.stream_prefix


def _in_clear(config: NATSSettings) -> Sequence[str]:
    if config.tls is not None and config.tls.enabled:
        return []
    urls = [urlsplit(server.get_secret_value()) for server in config.servers or ()]
    is_known = bool(config.password or config.token)
    # nats://TOKEN@host: a token stands where a user does.
    open_ones = [url for url in urls if url.scheme != "tls" and (is_known or url.username)]
    return far_hosts(",".join(url.netloc.rpartition("@")[2] for url in open_ones))


def _too_long(driver: NATSSettings, queue: Any, delay: float) -> str:
    """A delayed message ages in its stream."""
    age = queue.options.get("message_ttl")
    if age is None or delay < age:
        return ""
    return f"the server deletes messages of this queue at the age of {format_duration(age)} (its option message_ttl)"


def _clash(queue: Any) -> tuple[str, str] | None:
    """Unique messages have a lane of their own; a window is kept by the store."""
    if queue.unique is None or queue.unique.for_ != "running":
        return None
    if queue.ordering == "key":
        other, remedy = "ordering: key", "order"
    elif "priority" in queue.requires:
        other, remedy = "requires: [priority]", "priority"
    else:
        return None
    return "unique", (
        f"unique: for: running and {other} cannot both hold on NATS, which keeps unique messages in a lane of their "
        f"own, without {remedy}; drop one of them, or move the queue to PostgreSQL, Redis or SQLite"
    )


KIND = DriverKind(
    DRIVER_PREFIX + "nats",
    NATSSettings,
    driver="tasuki.drivers.nats.driver:NATSDriver",
    queue_options=NATSQueueOptions,
    client="nats",
    place=_place,
    in_clear=_in_clear,
    too_long=_too_long,
    clash=_clash,
)
