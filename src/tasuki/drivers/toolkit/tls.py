"""TLS of a driver's connection, out of the checked fields of its entry."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from tasuki.drivers.toolkit.pem import as_file


def tls_context(fields: Mapping[str, Any] | None) -> ssl.SSLContext | None:
    """The context for ``tls: {enabled, server_name, cert, key, ca, insecure_skip_verify}``; None: not encrypted.

    ``cert``, ``key`` and ``ca`` are paths of files, or their PEM text. ``server_name`` is for the client's own argument
    of that name. Raises OSError or ssl.SSLError for a file or text that cannot be used.
    """
    if not fields or not fields.get("enabled", True):
        return None
    with as_file(fields.get("ca")) as ca:
        context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if fields.get("insecure_skip_verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if fields.get("cert"):
        with as_file(fields["cert"]) as cert, as_file(fields.get("key")) as key:
            context.load_cert_chain(str(cert), key)
    return context
