"""Where the broker is and how it is spoken to, out of the settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from tasuki.drivers.amqp.settings import AMQPSettings
from tasuki.drivers.toolkit.address import hosts_of, parts_of
from tasuki.fields.tls import TlsConfig

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
