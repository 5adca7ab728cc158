"""Credentials: the settings → arguments of the client; secrets stay out of messages."""

from __future__ import annotations

import ssl
from typing import Any

from tasuki.drivers.nats.settings import NATSSettings
from tasuki.drivers.toolkit.tls import tls_context
from tasuki.errors import DriverError
from tasuki.fields.types import revealed


def client_options(driver: str, settings: NATSSettings) -> dict[str, Any]:
    """Arguments of the client's ``connect``.

    Raises:
        ImportError: files of keys need the package ``nkeys``.
        DriverError: a file of ``tls`` cannot be used.
    """
    options: dict[str, Any] = {}
    if settings.credentials_file or settings.nkey_seed_file:
        import nkeys  # type: ignore[import-not-found] # noqa: F401 - the client imports it only when it connects
    given = {
        "user": settings.user,
        "password": revealed(settings.password),
        "token": revealed(settings.token),
        "user_credentials": settings.credentials_file,
        "nkeys_seed": settings.nkey_seed_file,
    }
    options.update({name: value for name, value in given.items() if value is not None})
    try:
        context = tls_context(settings.tls)
    except (OSError, ssl.SSLError) as error:
        raise DriverError(f"driver {driver!r}: a file of tls cannot be used: {error}", driver=driver) from error
    if context is not None:
        options["tls"] = context
        if settings.tls and settings.tls.server_name:
            options["tls_hostname"] = settings.tls.server_name
    if settings.tls_first:
        options.setdefault("tls", ssl.create_default_context())  # tls:// alone
        options["tls_handshake_first"] = True
    return options
