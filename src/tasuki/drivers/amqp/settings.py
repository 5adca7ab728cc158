"""Where the broker is and how it is spoken to, out of the entry's fields."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from tasuki.drivers.toolkit.address import hosts_of, parts_of
from tasuki.drivers.toolkit.tls import tls_context
from tasuki.errors import DriverError

_PORTS = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True)
class Settings:
    """All that a connection needs; ``repr`` shows no secret."""

    hosts: Sequence[tuple[str, int]]
    """Nodes of one cluster; any of them will do."""
    vhost: str
    user: str = field(repr=False)
    password: str = field(repr=False)
    mechanism: str
    tls: Mapping[str, Any] | None = field(repr=False)
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

    def context(self) -> ssl.SSLContext | None:
        """For TLS; reads the certificates."""
        return tls_context(self.tls)

    def server_name(self, host: str) -> str | None:
        """The name that a host's certificate must have."""
        return (self.tls.get("server_name") or host) if self.tls else None


Address = tuple[Sequence[tuple[str, int]], str, str, str, Mapping[str, Any] | None]


def read_url(driver: str, url: str, tls: Mapping[str, Any] | None) -> Address:
    """Hosts, vhost, user, password and TLS fields of ``amqp[s]://user:password@host:port,host:port/vhost``."""
    try:
        parts, hosts = parts_of(url), hosts_of(url)
    except ValueError:
        parts, hosts = parts_of(""), []
    if parts.scheme not in _PORTS or not hosts:
        raise DriverError(f"url of driver {driver!r} is no address like amqp://user:password@host:5672/", driver=driver)
    encrypted = tls if tls and tls.get("enabled", True) else {"enabled": True} if parts.scheme == "amqps" else None
    standard = _PORTS["amqps" if encrypted else "amqp"]
    user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
    return [(host, port or standard) for host, port in hosts], unquote(parts.path[1:]) or "/", user, password, encrypted
