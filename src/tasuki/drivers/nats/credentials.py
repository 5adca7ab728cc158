"""Credentials: the checked fields of the entry → arguments of the client; what is secret stays out of messages."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Any

from tasuki.drivers.toolkit.tls import tls_context
from tasuki.errors import DriverError


def client_options(
    driver: str,
    *,
    user: str | None,
    password: str | None,
    token: str | None,
    credentials_file: str | os.PathLike[str] | None,
    nkey_seed_file: str | os.PathLike[str] | None,
    tls: Mapping[str, Any] | None,
    tls_first: bool,
) -> dict[str, Any]:
    """Arguments of the client's ``connect``.

    Raises:
        ImportError: files of keys need the package ``nkeys``.
        DriverError: a file of ``tls`` cannot be used.
    """
    options: dict[str, Any] = {}
    if credentials_file or nkey_seed_file:
        import nkeys  # type: ignore[import-not-found] # noqa: F401 - the client imports it only when it connects
    given = {
        "user": user,
        "password": password,
        "token": token,
        "user_credentials": credentials_file and os.fspath(credentials_file),
        "nkeys_seed": nkey_seed_file and os.fspath(nkey_seed_file),
    }
    options.update({name: value for name, value in given.items() if value is not None})
    try:
        context = tls_context(tls)
    except (OSError, ssl.SSLError) as error:
        raise DriverError(f"driver {driver!r}: a file of tls cannot be used: {error}", driver=driver) from error
    if context is not None:
        options["tls"] = context
        if tls and tls.get("server_name"):
            options["tls_hostname"] = tls["server_name"]
    if tls_first:
        options.setdefault("tls", ssl.create_default_context())  # tls:// alone
        options["tls_handshake_first"] = True
    return options
