"""The service contract: anything that the supervisor starts, watches and stops."""

from __future__ import annotations

from typing import Protocol


class Service(Protocol):
    """Something with a life: a driver's connection, a consumer, an HTTP server.

    The same object may be started again after it has stopped or failed; a double stop is harmless.
    """

    async def start(self) -> None:
        """Return when running; raise when that cannot be."""

    async def wait(self) -> None:
        """Return when it has ended by itself (``exited``); raise when it has failed. Cancelled by the supervisor."""

    async def stop(self, timeout: float) -> None:
        """Drain: finish held messages within ``timeout`` seconds, release the others, then return.

        Raises:
            StopTimeoutError: some work had not ended, and was released.
        """
