"""Where the servers are and how to log in, out of the settings."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from tasuki.drivers.redis.settings import PORT, SENTINEL_PORT, RedisSettings, Server, servers
from tasuki.drivers.toolkit.address import redis_database, tls_context
from tasuki.fields.types import TlsConfig, revealed


@dataclass(frozen=True, slots=True)
class Login:
    """What a connection says first, and how it is encrypted."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    db: int = 0
    client_name: str = ""
    tls: ssl.SSLContext | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Addresses:
    """Servers of one kind: ``master`` names what the Sentinels watch, else they are a cluster or plain servers."""

    servers: tuple[Server, ...]
    login: Login
    master: str = ""
    is_cluster: bool = False
    sentinel: Login = field(default_factory=Login)

    def __str__(self) -> str:
        """As it is shown to people: no user, no password."""
        return ", ".join(map(str, self.servers))


def addresses(settings: RedisSettings) -> Addresses:
    """The servers of checked settings. Raises OSError or ssl.SSLError for a file of ``tls`` that cannot be used."""
    url = urlsplit(settings.url.get_secret_value()) if settings.url else None
    master = settings.master_name or ""
    found = _server_of(url) if url else servers(settings.addrs, SENTINEL_PORT if master else PORT)
    tls = settings.tls
    if tls is None and url and url.scheme in {"rediss", "valkeys"}:
        tls = TlsConfig()
    context, server_name = tls_context(tls), tls.server_name if tls else None
    login = Login(
        username=settings.username or (unquote(url.username or "") if url else ""),
        password=revealed(settings.password) or (unquote(url.password or "") if url else ""),
        db=settings.db or (int(redis_database(url)) if url else 0),
        client_name=settings.client_name or "",
        tls=context,
        server_name=server_name,
    )
    sentinel = Login(
        username=settings.sentinel_username or "",
        password=revealed(settings.sentinel_password) or "",
        tls=context,
        server_name=server_name,
    )
    return Addresses(found, login, master, settings.is_cluster_mode, sentinel)


def _server_of(url: SplitResult) -> tuple[Server, ...]:
    if url.scheme == "unix":
        return (Server(unquote(url.path), 0),)
    return (Server(url.hostname or "localhost", url.port or PORT),)
