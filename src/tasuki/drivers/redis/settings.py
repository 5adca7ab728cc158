"""Where the server is and how to log in: the fields of an entry, in one checked piece."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from tasuki.drivers.toolkit.address import redis_database, shown
from tasuki.drivers.toolkit.tls import tls_context

PORT = 6379
SENTINEL_PORT = 26379
_SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix")


@dataclass(frozen=True, slots=True)
class Server:
    """A place to connect to: a host and a port, or the path of a Unix socket."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it is shown to people."""
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


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
class Settings:
    """Servers of one kind: ``master`` names what the Sentinels watch, else they are a cluster or plain servers."""

    servers: tuple[Server, ...]
    login: Login
    master: str = ""
    is_cluster: bool = False
    sentinel: Login = field(default_factory=Login)

    def __str__(self) -> str:
        """As it is shown to people: no user, no password."""
        return ", ".join(map(str, self.servers))


def settings(fields: Mapping[str, Any]) -> Settings:
    """The settings of an entry: ``url``, or ``addrs``, ``username``, ``password`` and ``db``, and the rest.

    Raises:
        ValueError: it contradicts itself, or cannot be read; never shows a password.
        OSError: a file of ``tls`` cannot be used.
    """
    url = _url(fields.get("url"))
    master = fields.get("master_name") or ""
    servers = _server_of(url) if url else _servers(fields.get("addrs"), SENTINEL_PORT if master else PORT)
    tls = fields.get("tls")
    if tls is None and url and url.scheme in {"rediss", "valkeys"}:
        tls = {"enabled": True}
    context, server_name = tls_context(tls), (tls or {}).get("server_name")
    login = Login(
        username=fields.get("username") or (unquote(url.username or "") if url else ""),
        password=fields.get("password") or (unquote(url.password or "") if url else ""),
        db=_db(fields.get("db"), url),
        client_name=fields.get("client_name") or "",
        tls=context,
        server_name=server_name,
    )
    is_cluster = bool(fields.get("is_cluster_mode"))
    if is_cluster and (master or login.db):
        raise ValueError("a cluster has neither a master_name nor a db other than 0")
    sentinel = Login(
        username=fields.get("sentinel_username") or "",
        password=fields.get("sentinel_password") or "",
        tls=context,
        server_name=server_name,
    )
    return Settings(servers, login, master, is_cluster, sentinel)


def _url(text: str | None) -> SplitResult | None:
    if not text:
        return None
    try:
        url = urlsplit(text)
        url.port  # noqa: B018 - it is read to be checked
    except ValueError:
        raise ValueError("the url cannot be read; write redis://user:password@host:6379/0") from None
    if url.scheme not in _SCHEMES:
        raise ValueError(f"{shown(text)!r} is not of redis://, rediss:// or unix://")
    return url


def _server_of(url: SplitResult) -> tuple[Server, ...]:
    if url.scheme == "unix":
        return (Server(unquote(url.path), 0),)
    return (Server(url.hostname or "localhost", url.port or PORT),)


def _db(given: int | None, url: SplitResult | None) -> int:
    if given:
        return given
    text = redis_database(url) if url is not None else "0"
    if not text.isdecimal():
        raise ValueError("the url does not end with the number of a database; write redis://host:6379/0")
    return int(text)


def _servers(given: str | Sequence[str] | None, port: int) -> tuple[Server, ...]:
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
        raise ValueError("addrs: write host:port, several with commas or as a list; a user and a password have fields")
    return Server(host, given or port)
