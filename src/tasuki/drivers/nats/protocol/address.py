"""Address: the settings as servers, timeouts and arguments of the client; secrets stay out of messages."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tasuki.drivers.nats.settings import DEFAULT_SERVER, NATSSettings
from tasuki.drivers.toolkit.address import tls_context
from tasuki.errors import DriverError
from tasuki.fields.types import revealed


@dataclass(frozen=True, slots=True)
class Address:
    """How to connect: ``servers`` are tried in random order; ``options`` are arguments of the client's ``connect``."""

    driver: str
    servers: Sequence[str] = field(repr=False)
    options: dict[str, Any] = field(repr=False)
    connect_timeout: float
    timeout: float
    """Seconds within which a request must be answered."""
    inbox_prefix: str = "_INBOX"
    """What the subjects begin with on which answers come."""
    domain: str | None = None
    """The JetStream domain of the streams; None: the server's."""

    @property
    def api(self) -> str:
        """What the subjects of JetStream's requests begin with."""
        return "$JS.API" if self.domain is None else f"$JS.{self.domain}.API"


def address_of(driver: str, settings: NATSSettings) -> Address:
    """The address of a driver. Raises what ``client_options`` raises."""
    return Address(
        driver,
        [server.get_secret_value() for server in settings.servers or ()] or [DEFAULT_SERVER],
        {"name": settings.connection_name, **client_options(driver, settings)},
        settings.connect_timeout,
        settings.timeout,
        settings.inbox_prefix,
        settings.domain,
    )


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
