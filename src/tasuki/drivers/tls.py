"""TLS of a driver's connection, out of the checked fields of its entry."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any


def tls_context(fields: Mapping[str, Any] | None) -> ssl.SSLContext | None:
    """The context for ``tls: {enabled, server_name, cert, key, ca, insecure_skip_verify}``; None: not encrypted.

    ``server_name`` is for the client's own argument of that name. Raises OSError or ssl.SSLError for a file that cannot
    be used.
    """
    if not fields or not fields.get("enabled", True):
        return None
    context = ssl.create_default_context(cafile=fields.get("ca"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if fields.get("insecure_skip_verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if fields.get("cert"):
        context.load_cert_chain(fields["cert"], fields.get("key"))
    return context
