"""RealAssembly: the objects of an app's entries with its own drivers, which a ledger hears of."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tasuki.app.assembly import Assembly
from tasuki.app.request_reply.requests import Requests
from tasuki.clock import Clock
from tasuki.contracts.driver import Driver
from tasuki.errors import LifecycleError
from tasuki.message import HeaderValue
from tasuki.queues.queue import Queue
from tasuki.testing.real.drivers import noted
from tasuki.testing.real.ledger import Ledger
from tasuki.testing.real.work import RealWork
from tasuki.units import Duration


class RealAssembly(Assembly):
    """Belongs to the event loop that opens it."""

    def __init__(self, ledger: Ledger, **parts: Any) -> None:
        self._ledger = ledger
        self._loop: asyncio.AbstractEventLoop | None = None
        super().__init__(**parts)

    def _driver(self, id: str) -> Driver:
        return noted(super()._driver(id), self._ledger)

    def queue(self, id: str) -> Queue:
        """See ProjectHost."""
        with suppress(RuntimeError):  # there is no loop: the caller only builds a coroutine
            self._check(asyncio.get_running_loop())
        return super().queue(id)

    def _check(self, here: asyncio.AbstractEventLoop) -> None:
        if here is not self._loop:
            raise LifecycleError(
                "the app is open in another event loop, and real drivers belong to one: in an async test write "
                "'async with TestApp(app, real=True) as t'; in a test without a loop publish with app.sync"
            )

    async def open(self) -> None:
        """Open the drivers and declare their queues, or none of them."""
        self._loop = asyncio.get_running_loop()
        try:
            for service in self.services.values():
                await service.start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End handlers, reply queues and drivers; raises the first error when all are closed."""
        await self.stop_handlers()
        ended = await asyncio.gather(*(service.stop(0.0) for service in self.services.values()), return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException):
                raise error


class RealRequests(Requests):
    """Lets the consumers run while a request waits for its reply."""

    def __init__(self, work: RealWork, clock: Clock) -> None:
        super().__init__(clock)
        self._work = work

    async def ask(
        self,
        queue: Queue,
        body: Any,
        headers: Mapping[str, HeaderValue] | None,
        *,
        returns: Any = None,
        reply_to: Queue | None,
        timeout: Duration,
        options: Mapping[str, Any],
    ) -> Any:
        """See Requests."""
        asking = super().ask(queue, body, headers, returns=returns, reply_to=reply_to, timeout=timeout, options=options)
        return await (asking if self._work.is_running else self._work.beside(asking))
