"""A connection to NATS that is made when it is needed, and not to the server that was lost if another one answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tasuki.drivers.nats.protocol.connection import Address, Connection
from tasuki.drivers.toolkit.guard import not_open
from tasuki.drivers.toolkit.reconnecting import Reconnecting

C = TypeVar("C", bound=Connection)


def reconnecting(address: Address, make: Callable[[], C]) -> Reconnecting[C]:
    """The connection; ``make`` makes one that is not yet connected.

    ``get`` waits for one attempt. Raises BrokerUnavailableError, or AccessDeniedError.
    """
    last: C | None = None

    async def connect() -> C:
        nonlocal last
        if last is not None:
            await last.close()  # its tasks may still run
        connection = make()
        await connection.connect(last.server if last is not None else "")
        last = connection
        return connection

    return Reconnecting(connect, "connect to NATS", lambda: not_open(address.driver))
