"""TLS of the connections; asyncpg takes no name that the certificate must have, so the context has it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from tasuki.drivers.tls import tls_context
from tasuki.errors import DriverError


class _Named(ssl.SSLContext):
    """A context that expects one name, whatever host was connected to."""

    name: str

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """See SSLContext; called by the event loop."""
        return super().wrap_bio(*arguments, **{**options, "server_hostname": self.name})


def tls_of(driver: str, fields: Mapping[str, Any] | None) -> ssl.SSLContext | None:
    """The context for the fields of the entry; None: as the address says. Raises DriverError for unusable files."""
    try:
        context = tls_context(fields)
    except (OSError, ssl.SSLError) as problem:
        raise DriverError(f"tls of driver {driver!r}: a file cannot be used: {problem}", driver=driver) from problem
    if context is not None and fields and fields.get("server_name"):
        context.__class__ = _Named
        context.name = fields["server_name"]  # type: ignore[attr-defined]
    return context
