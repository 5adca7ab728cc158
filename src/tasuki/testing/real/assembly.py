"""RealAssembly: the objects of an app's entries with its own drivers, whose work a ledger hears of."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from tasuki.app.assembly import Assembly
from tasuki.contracts.driver import Answers, Driver, Merged, Outgoing
from tasuki.errors import DriverError, LifecycleError
from tasuki.queues.queue import Queue
from tasuki.testing.real.ledger import Ledger, Place


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


def noted(driver: Driver, ledger: Ledger) -> Driver:
    """The same driver; it tells the ledger what the broker has confirmed."""

    def stored(place: Place, batch: Sequence[Outgoing], answers: Answers) -> None:
        ledger.stored(place, _without(batch, answers), _replaced(answers))

    _note(driver, "publish", stored)
    _note(driver, "publish_within", stored)
    _note(driver, "receive", lambda place, wait, messages: ledger.received(place, messages))
    _note(driver, "settle", ledger.settled)
    _note(driver, "settle_within", lambda place, batch, nothing: ledger.settled(place, batch, ()))
    _note(driver, "move", lambda place, batch, errors: ledger.moved(place, _without(batch, errors)))
    _note(driver, "transfer", lambda place, batch, errors: ledger.transferred(place, _without(batch, errors)))
    return driver


def _note(driver: Driver, verb: str, note: Callable[[Place, Any, Any], None]) -> None:
    """Let the verb tell where it was done, what it was given last, and what it has answered."""
    inner = getattr(driver, verb)

    @functools.wraps(inner)
    async def noting(*arguments: Any) -> Any:
        answer = await inner(*arguments)
        queue = arguments[1] if verb.endswith("_within") else arguments[0]
        note((driver.name, queue), arguments[-1], answer)
        return answer

    setattr(driver, verb, noting)


def _without(batch: Sequence[Any], answers: Answers) -> list[Any]:
    """The items that the broker has taken; no answers at all mean that it has taken all."""
    return [item for item, answer in zip(batch, answers, strict=True) if _is_taken(answer)] if answers else list(batch)


def _is_taken(answer: DriverError | Merged | None) -> bool:
    return answer is None or (isinstance(answer, Merged) and answer.how != "kept")


def _replaced(answers: Answers) -> list[str]:
    """Ids of the messages whose places others have taken."""
    return [answer.other for answer in answers if isinstance(answer, Merged) and answer.how != "kept"]
