"""Where the broker is and how it is spoken to, out of the entry's fields."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from tasuki.drivers.tls import tls_context
from tasuki.errors import DriverError

_PORTS = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True)
class Settings:
    """All that a connection needs; ``repr`` shows no secret."""

    host: str
    port: int
    vhost: str
    user: str = field(repr=False)
    password: str = field(repr=False)
    mechanism: str
    tls: Mapping[str, Any] | None
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
        return f"{'amqps' if self.tls else 'amqp'}://{self.host}:{self.port}{self.vhost if self.vhost != '/' else '/'}"

    def context(self) -> ssl.SSLContext | None:
        """For TLS; reads the certificates."""
        return tls_context(self.tls)

    @property
    def server_name(self) -> str | None:
        """The name that the broker's certificate must have."""
        return (self.tls.get("server_name") or self.host) if self.tls else None


def read_url(driver: str, url: str, tls: Mapping[str, Any] | None) -> tuple[str, int, str, str, str, Any]:
    """Host, port, vhost, user, password and TLS fields of ``amqp[s]://user:password@host:port/vhost``."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in _PORTS or not parts.hostname:
        raise DriverError(f"url of driver {driver!r} is no address like amqp://user:password@host:5672/", driver=driver)
    encrypted = tls if tls and tls.get("enabled", True) else {"enabled": True} if parts.scheme == "amqps" else None
    vhost = unquote(parts.path[1:]) or "/"
    user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
    return parts.hostname, port or _PORTS["amqps" if encrypted else "amqp"], vhost, user, password, encrypted
