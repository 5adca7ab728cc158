"""Hosts: connects to the first node of a cluster that answers."""

from __future__ import annotations

import asyncio

from tasuki.drivers.amqp.endpoint import Endpoint
from tasuki.drivers.amqp.faults import ACCESS_REFUSED, ClosedError
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.protocol.handshake import connect

STAGGER = 0.5
"""Seconds that a node may take before the next one is tried as well: a machine that is gone answers nothing."""


class Hosts:
    """The nodes in turn: after a connection to one of them, the next attempt begins with the one after it.

    Nodes that did not answer when another one did come last.
    """

    def __init__(self, settings: Endpoint) -> None:
        self._settings = settings
        self._first = 0
        self._silent: set[int] = set()

    async def connect(self) -> Connection:
        """A connection to any node. Raises ClosedError for a refused login, or with the reason of the last node."""
        number = len(self._settings.hosts)
        order = [(self._first + offset) % number for offset in range(number)]
        order.sort(key=self._silent.__contains__)
        attempts: dict[asyncio.Task[Connection], int] = {}
        try:
            for index in order:
                host, port = self._settings.hosts[index]
                attempts[asyncio.create_task(connect(self._settings, host, port), name=f"connect to {host}")] = index
                found = await _first_of(attempts, STAGGER if index != order[-1] else None)
                if found is not None:
                    answered = attempts.pop(found)
                    self._first = (answered + 1) % number
                    self._silent = (self._silent | set(attempts.values())) - {answered}
                    return found.result()
            raise _worst(attempts)
        finally:
            await _end(attempts)


async def _first_of(
    attempts: dict[asyncio.Task[Connection], int], timeout: float | None
) -> asyncio.Task[Connection] | None:
    """The first attempt that succeeded; None when all have failed, or after the timeout."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout if timeout is not None else None
    while True:
        if found := next((task for task in attempts if task.done() and task.exception() is None), None):
            return found
        pending = [task for task in attempts if not task.done()]
        left = None if deadline is None else deadline - loop.time()
        if not pending or (left is not None and left <= 0):
            return None
        await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)


def _worst(attempts: dict[asyncio.Task[Connection], int]) -> BaseException:
    """Why no node would have us."""
    errors = [error for task in attempts if (error := task.exception()) is not None]
    refused = (error for error in errors if isinstance(error, ClosedError) and error.code == ACCESS_REFUSED)
    return next(refused, errors[-1])


async def _end(attempts: dict[asyncio.Task[Connection], int]) -> None:
    """End the attempts that are not needed any more, and their connections."""
    for task in attempts:
        task.cancel()
    await asyncio.gather(*attempts, return_exceptions=True)
    for task in attempts:
        if not task.cancelled() and task.exception() is None:
            task.result().end(ClosedError(0, "another node was quicker"))
