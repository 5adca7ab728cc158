"""Servers: where to connect to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

PORT = 6379
SENTINEL_PORT = 26379


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
