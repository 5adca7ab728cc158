"""Transactions: work on a connection of a pool that is committed as a whole, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tasuki.drivers.toolkit.reconnecting import NotConnectedError, Pool, late
from tasuki.errors import DriverError, Outcome
from tasuki.system.tasks import OnFailure
from tasuki_mariadb.connecting import Link

T = TypeVar("T")


class BeginAgainError(Exception):
    """Raised by work that must begin again in a new transaction, with other locks: it has changed nothing."""


class Transactions:
    """At most ``size`` transactions at a time, each on its own connection.

    Args:
        driver: its name, for errors.
        connect: makes a connection; see :class:`Pool`.
        size: most connections.
        timeout: seconds for a transaction, the wait for a connection included.
        translate: the DriverError for an error of the client or the network, a queue, and the outcome.
    """

    def __init__(
        self,
        driver: str,
        connect: Callable[[], Awaitable[Link]],
        size: int,
        timeout: float,
        translate: Callable[[BaseException, str, Outcome], DriverError],
    ) -> None:
        self._pool: Pool[Link] = Pool(driver, connect, size, timeout)
        self._timeout = timeout
        self._translate = translate

    async def run(self, work: Callable[[Link], Awaitable[T]], *, queue: str = "", timeout: float | None = None) -> T:
        """The result of ``work``, which is committed when this returns; if it fails, nothing of it is left.

        A commit whose answer is lost has the outcome ``unknown``; its connection, and one on which ``work`` failed
        otherwise than by a DriverError, or was cancelled, is dropped.

        Raises:
            DriverError: raised by ``work`` itself, or the translated error.
        """
        outcome: Outcome = "rejected"
        has_link = False

        async def transact(link: Link) -> T:
            nonlocal outcome, has_link
            has_link = True
            while True:
                refused: DriverError | BeginAgainError
                with OnFailure(link.abort):
                    try:
                        result = await work(link)
                    except (DriverError, BeginAgainError) as error:
                        refused = error
                        await link.rollback()
                    else:
                        outcome = "unknown"
                        await link.commit()
                        return result
                if isinstance(refused, DriverError):
                    raise refused

        try:
            async with asyncio.timeout(self._timeout if timeout is None else timeout):
                return await self._pool.run(transact)
        except NotConnectedError as error:
            problem = error.problem
        except TimeoutError as error:
            problem = error if has_link else late()
        except Exception as error:  # whatever the client raises
            problem = error
        if isinstance(problem, DriverError):
            raise problem
        raise self._translate(problem, queue, outcome) from problem

    async def close(self) -> None:
        """Drop the connections in use, close the others. Idempotent."""
        await self._pool.close()
