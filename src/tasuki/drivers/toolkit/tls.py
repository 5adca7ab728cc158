"""TLS of a driver's connection, out of its settings."""

from __future__ import annotations

import ssl

from tasuki.fields.tls import TlsConfig, as_file
from tasuki.fields.types import revealed


def tls_context(tls: TlsConfig | None) -> ssl.SSLContext | None:
    """The context for the ``tls`` of an entry; None: not encrypted.

    ``server_name`` is for the client's own argument of that name. Raises OSError or ssl.SSLError for a file or text
    that cannot be used.
    """
    if tls is None or not tls.enabled:
        return None
    with as_file(tls.ca) as ca:
        context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert is not None:
        with as_file(tls.cert) as cert, as_file(revealed(tls.key)) as key:
            context.load_cert_chain(str(cert), key)
    return context
