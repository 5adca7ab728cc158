"""``queue.driver.amqp``."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote, unquote

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from tasuki.backoff import UNTIL_BACK
from tasuki.drivers.amqp.limits import CONSUMER_TIMEOUT, SMALLEST_FRAME, whole_of
from tasuki.drivers.toolkit.address import far_hosts, hosts_of, parts_of, servers_in
from tasuki.fields.types import (
    DRIVER_PREFIX,
    Config,
    Count,
    DriverKind,
    Duration,
    Flag,
    NotHonored,
    Positive,
    PositiveDuration,
    PositiveSize,
    Secret,
    Size,
    Text,
    TlsConfig,
    at_field,
    check_agreement,
)

_MOST_SECONDS = 65_535


def _url(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    try:
        is_good = parts_of(url).scheme in {"amqp", "amqps"} and bool(hosts_of(url))
    except ValueError:
        is_good = False
    if not is_good:
        raise ValueError("write amqp://user:password@host:5672/vhost, or amqps:// for TLS; several hosts with commas")
    return value


def _heartbeat(value: float) -> float:
    if value and not 1 <= value <= _MOST_SECONDS:
        raise ValueError(f"from 1s to {_MOST_SECONDS}s, or 0 for none")
    return value


def _frame_size(value: int) -> int:
    if value and value < SMALLEST_FRAME:
        raise ValueError(f"at least {SMALLEST_FRAME} bytes, or 0 for the broker's")
    return value


def _address(value: object) -> object:
    # Checked here, because pydantic's errors would show the value.
    if not isinstance(value, SecretStr) and (not isinstance(value, str) or not value):
        raise ValueError("write amqp://user:password@host:5672/vhost; take the password from ${env:NAME}")
    return value


Url = Annotated[Secret, AfterValidator(_url), BeforeValidator(_address, json_schema_input_type=str)]


class AMQPSettings(Config):
    """Queues at RabbitMQ 3.13 or newer."""

    url: Url = SecretStr("amqp://guest:guest@localhost:5672/")
    """amqp://user:password@host:port/vhost, or amqps:// with TLS; a cluster as host:port,host:port; ${env:NAME} keeps
    the password out of the file."""
    vhost: Text | None = None
    """The virtual host; default: the path of the url."""
    connection_name: Text | None = None
    """The name of the connections at the broker; default: the entry's id."""
    auth_mechanism: Literal["PLAIN", "EXTERNAL", "AMQPLAIN"] = "PLAIN"
    """How to log in; EXTERNAL takes the user from the client's certificate."""
    heartbeat: Annotated[Duration, AfterValidator(_heartbeat)] = 10.0
    """Two of them without traffic end the connection, on either side; 0: never."""
    connection_timeout: PositiveDuration = 10.0
    """Longest time for connecting and logging in."""
    request_timeout: PositiveDuration = 10.0
    """Longest wait for any other answer."""
    reconnect_delay: PositiveDuration = 1.0
    """Pause after the first failed attempt to connect; it doubles."""
    reconnect_max_delay: PositiveDuration = UNTIL_BACK.max_delay
    """The longest pause; after a refused login it is 30s."""
    default_message_ttl: PositiveDuration | None = None
    """Age at which the broker removes any message of this driver; message_ttl of a queue keeps it as a dead letter."""
    default_queue_ttl: PositiveDuration | None = None
    """The same as an argument of every queue."""
    default_queue_expiry: PositiveDuration | None = None
    """Time after which the broker deletes an unused queue, with all its messages."""
    prefetch_count: Annotated[Count, Field(le=65_535)] = 0
    """Most unsettled messages of one queue in this process; 0: the sum of its consumers' prefetch."""
    frame_size: Annotated[Size, AfterValidator(_frame_size)] = 0
    """Largest frame; 0: the broker's."""
    channel_max: Annotated[Count, Field(le=65_535)] = 0
    """Most channels of a connection; a consumed queue takes one; the driver opens more connections; 0: the broker's."""
    tls: TlsConfig | None = None
    """How the connections are encrypted; amqps:// alone means: by the certificates of the system."""

    @model_validator(mode="after")
    def _external_needs_a_certificate(self) -> AMQPSettings:
        if self.auth_mechanism == "EXTERNAL" and (self.tls is None or self.tls.cert is None):
            raise at_field("auth_mechanism", "EXTERNAL takes the user from a certificate: give tls: {cert, key}")
        return self

    @model_validator(mode="after")
    def _tls_agrees_with_the_url(self) -> AMQPSettings:
        if self.url.get_secret_value().startswith("amqps://"):
            check_agreement(self.tls, "amqps://", is_encrypted=True)
        return self


class AMQPQueueOptions(Config):
    """Options of a queue at RabbitMQ: its arguments there, which cannot be changed while the queue exists."""

    has_own_max_length: ClassVar[bool] = True
    """Its max_length is the broker's own, not the one of the driver contract."""

    queue_type: Literal["quorum", "classic"] = "quorum"
    """quorum: a confirmed message survives a power loss; classic: only a crash of the broker."""
    durable: Flag = True
    """Whether the queue survives a restart of the broker; false only with queue_type: classic."""
    auto_delete: Flag = False
    """Whether it goes with its last consumer; only with queue_type: classic."""
    exclusive: Flag = False
    """Whether it belongs to one connection and goes with it; only with queue_type: classic."""
    max_length: Count | None = None
    """The broker's own bound: most ready messages, held ones not counted, and kept roughly; 0: no limit."""
    max_length_bytes: PositiveSize | None = None
    """Most bytes of ready messages."""
    message_ttl: PositiveDuration | None = None
    """Age at which the broker takes a ready message out: to dead_letter_exchange, or to tasuki.undeliverable."""
    queue_expiry: PositiveDuration | None = None
    """Time after which the broker deletes an unused queue, with its messages."""
    delivery_limit: Positive | None = None
    """Returns after which the broker gives a message up; 100000."""
    consumer_timeout: PositiveDuration | None = None
    """How long a message may be held unsettled, buffered or in work; 7 days. The broker's own default is 30 minutes."""
    dead_letter_exchange: str | None = None
    """The exchange for messages that the broker gives up; default: to the queue tasuki.undeliverable."""
    dead_letter_routing_key: Text | None = None
    """Its routing key."""
    partitions: Annotated[Positive, Field(le=64)] | None = None
    """With ordering: key, how many keys can be handled at the same time; 16; cannot be changed later."""
    single_active_consumer: Flag = False
    """Whether one process at a time gets all messages."""

    @staticmethod
    def whole_of(queue_name: str) -> str | None:
        """The queue of whose parts at the broker one has this name; None if it cannot be a part."""
        return whole_of(queue_name)

    @staticmethod
    def longest_hold(options: Mapping[str, Any]) -> float:
        """Seconds that a consumer may hold a message of a queue with these options."""
        return float(options.get("consumer_timeout") or CONSUMER_TIMEOUT)

    @model_validator(mode="after")
    def _quorum_queues_are_durable(self) -> AMQPQueueOptions:
        if self.queue_type == "quorum":
            given = {"durable": not self.durable, "auto_delete": self.auto_delete, "exclusive": self.exclusive}
            for name in [name for name, is_wrong in given.items() if is_wrong]:
                raise at_field(name, f"a quorum queue is durable and shared: {name} needs queue_type: classic")
        if self.dead_letter_routing_key is not None and self.dead_letter_exchange is None:
            raise at_field("dead_letter_routing_key", "dead_letter_routing_key needs dead_letter_exchange")
        return self


class AMQPConsumerOptions(Config):
    """Options of a consumer at RabbitMQ, from Wippy's format. This driver honors none: check warns, with the reason."""

    exclusive: Annotated[
        Flag,
        NotHonored("a queue is consumed over several channels; single_active_consumer of the queue is for one process"),
    ] = False
    """Not honored: one consumer alone; the queue's option single_active_consumer gives one process all messages."""
    no_local: Annotated[Flag, NotHonored("RabbitMQ does not implement it")] = False
    """Not honored: RabbitMQ does not implement it."""
    no_wait: Annotated[Flag, NotHonored("the driver waits for the broker's answer, to notice a refusal")] = False
    """Not honored: the driver waits for the broker's answer, to notice a refusal."""
    consumer_tag: Annotated[
        Text | None, NotHonored("the driver tags each of its consumers itself; connection_name of the driver is shown")
    ] = None
    """Not honored: the driver tags its consumers itself; the broker shows the driver's connection_name."""


def _place(config: AMQPSettings, _: Path) -> Hashable:
    url = parts_of(config.url.get_secret_value())
    is_encrypted = config.tls.enabled if config.tls else url.scheme == "amqps"
    hosts = servers_in(url.netloc.rpartition("@")[2], 5671 if is_encrypted else 5672)
    return hosts, config.vhost or unquote(url.path[1:]) or "/"


def _in_clear(config: AMQPSettings) -> Sequence[str]:
    url = parts_of(config.url.get_secret_value())
    is_encrypted = config.tls.enabled if config.tls else url.scheme == "amqps"
    return far_hosts(url.netloc.rpartition("@")[2]) if url.password and not is_encrypted else []


KIND = DriverKind(
    DRIVER_PREFIX + "amqp",
    AMQPSettings,
    driver="tasuki.drivers.amqp.driver:AMQPDriver",
    queue_options=AMQPQueueOptions,
    client="pamqp",
    consumer_options=AMQPConsumerOptions,
    place=_place,
    in_clear=_in_clear,
)


_PORTS = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True)
class Endpoint:
    """All that a connection needs; ``repr`` shows no secret."""

    hosts: Sequence[tuple[str, int]]
    """Nodes of one cluster; any of them will do."""
    vhost: str
    user: str = field(repr=False)
    password: str = field(repr=False)
    mechanism: str
    tls: TlsConfig | None = field(repr=False)
    name: str
    heartbeat: int
    connection_timeout: float
    request_timeout: float
    reconnect_delay: float
    reconnect_max_delay: float
    frame_size: int
    channel_max: int

    @property
    def shown(self) -> str:
        """The address for messages and logs."""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"{'amqps' if self.tls else 'amqp'}://{hosts}/{'' if self.vhost == '/' else quote(self.vhost, safe='')}"

    def server_name(self, host: str) -> str | None:
        """The name that a host's certificate must have."""
        return (self.tls.server_name or host) if self.tls else None


def endpoint(driver: str, settings: AMQPSettings) -> Endpoint:
    """Where and how to connect, out of checked settings; ``driver`` is the entry's id."""
    url = settings.url.get_secret_value()
    parts, tls = parts_of(url), settings.tls
    if not (tls and tls.enabled):
        tls = TlsConfig() if parts.scheme == "amqps" else None
    standard = _PORTS["amqps" if tls else "amqp"]
    return Endpoint(
        hosts=[(host, port or standard) for host, port in hosts_of(url)],
        vhost=settings.vhost or unquote(parts.path[1:]) or "/",
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        mechanism=settings.auth_mechanism,
        tls=tls,
        name=settings.connection_name or f"tasuki {driver}",
        heartbeat=_whole_seconds(settings.heartbeat),
        connection_timeout=settings.connection_timeout,
        request_timeout=settings.request_timeout,
        reconnect_delay=settings.reconnect_delay,
        reconnect_max_delay=settings.reconnect_max_delay,
        frame_size=settings.frame_size,
        channel_max=settings.channel_max,
    )


def _whole_seconds(heartbeat: float) -> int:
    """The protocol knows whole seconds; a heartbeat of less than one is one."""
    return 0 if heartbeat <= 0 else max(round(heartbeat), 1)
