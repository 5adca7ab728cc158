"""A connection to RabbitMQ that is made when it is needed, to any node, and prepared before its first use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from tasuki.backoff import UNTIL_BACK
from tasuki.drivers.amqp.endpoint import Endpoint
from tasuki.drivers.amqp.faults import ACCESS_REFUSED, ClosedError
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.protocol.hosts import Hosts
from tasuki.drivers.toolkit.reconnecting import Reconnecting
from tasuki.system.tasks import OnFailure

AUTH_PAUSE = 30.0
"""Seconds after refused credentials: the broker may lock out a client that tries again at once."""


def reconnecting(settings: Endpoint, prepare: Callable[[Connection], Awaitable[None]]) -> Reconnecting[Connection]:
    """The connection; while an attempt must wait, ``get`` raises at once what made the last one fail.

    That is ClosedError, or what ``prepare`` raised.
    """
    hosts = Hosts(settings)

    async def connect() -> Connection:
        connection = await hosts.connect()
        with OnFailure(lambda: connection.end(ClosedError(0, "could not be made ready"))):
            await prepare(connection)
        return connection

    backoff = replace(UNTIL_BACK, initial_delay=settings.reconnect_delay, max_delay=settings.reconnect_max_delay)
    return Reconnecting(
        connect, "connect to RabbitMQ", _closed, wait=0.0, backoff=backoff, least_pause=_pause_after_refusal
    )


def _closed() -> ClosedError:
    return ClosedError(0, "closed")


def _pause_after_refusal(error: Exception) -> float:
    return AUTH_PAUSE if isinstance(error, ClosedError) and error.code == ACCESS_REFUSED else 0.0
