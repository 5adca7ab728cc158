"""TLS of the connections: what the entry says, what the address says, and what holds where neither says anything."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from tasuki.drivers.toolkit.address import is_local, parts_of
from tasuki.drivers.toolkit.tls import tls_context
from tasuki.errors import DriverError
from tasuki.fields.tls import TlsConfig

_SAYS = ("sslmode", "service")
"""Parameters of an address that decide about encryption; a service is a section of a file of the user's."""
_VARIABLES = ("PGSSLMODE", "PGSERVICE")
"""The same as environment variables."""

REMEDY = (
    "beyond loopback a connection must be encrypted, since the server may ask for the password in clear: turn TLS on "
    "at the server, or write sslmode=disable into the address where the network is trusted"
)
UNVERIFIED = (
    "name the authority that signed it in tls: {ca: …} or sslrootcert=…, or write sslmode=require into the address to "
    "encrypt without knowing the server"
)
_HOME = ".postgresql"
"""Where libpq has certificates, within the user's folder."""


class _Named(ssl.SSLContext):
    """A context that expects one name, whatever host was connected to; asyncpg takes no name of its own."""

    name: str

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """See SSLContext; called by the event loop."""
        return super().wrap_bio(*arguments, **{**options, "server_hostname": self.name})


def encryption(
    driver: str, url: str, tls: TlsConfig | None, environ: Mapping[str, str] = os.environ
) -> ssl.SSLContext | str | None:
    """The argument ``ssl`` of the client for an address and the ``tls`` of its entry; None: as the address says.

    Raises:
        DriverError: a file of ``tls`` cannot be used.
    """
    if tls is not None:
        return _context(driver, tls) or "disable"
    parts = parts_of(url)
    query = parse_qs(parts.query)
    if any(name in query for name in _SAYS) or any(environ.get(name) for name in _VARIABLES):
        return None
    hosts = parts.netloc.rpartition("@")[2] or query.get("host", [""])[-1] or environ.get("PGHOST") or "localhost"
    # Without this the client would try TLS and then go on without it ("prefer").
    return None if all(is_local(unquote(host)) for host in hosts.split(",")) else _verified(driver, query, environ)


def _verified(driver: str, query: Mapping[str, list[str]], environ: Mapping[str, str]) -> ssl.SSLContext | str | None:
    """As sslmode=verify-full, with the authorities of libpq's root.crt; without that file, with the system's."""
    if _given("sslrootcert", query, environ) or Path(environ.get("HOME", "/"), _HOME, "root.crt").exists():
        return "verify-full"
    cert, key = (_given(name, query, environ) or None for name in ("sslcert", "sslkey"))
    return _context(driver, TlsConfig.model_validate({"cert": cert, "key": key} if cert and key else {}))


def _given(name: str, query: Mapping[str, list[str]], environ: Mapping[str, str]) -> str:
    value = query.get(name, [environ.get(f"PG{name.upper()}", "")])[-1]
    return "" if value == "system" else value


def _context(driver: str, tls: TlsConfig) -> ssl.SSLContext | None:
    try:
        context = tls_context(tls)
    except (OSError, ssl.SSLError) as problem:
        raise DriverError(f"tls of driver {driver!r}: a file cannot be used: {problem}", driver=driver) from problem
    if context is not None and tls.server_name:
        context.__class__ = _Named
        context.name = tls.server_name  # type: ignore[attr-defined]
    return context
