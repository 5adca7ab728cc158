"""Functions around ``publish``: the middleware of a queue, composed once, and the observers of the app."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from tasuki.contracts.driver import Answers, Merged, Outgoing, Receipt, Settlement
from tasuki.contracts.observer import Observer
from tasuki.errors import DriverError, TasukiError
from tasuki.queues.messages.message_builder import Envelope, GroupEnvelope
from tasuki.queues.result import Confirmed, PublishResult, Rejected, Unknown

Publish = Callable[[Envelope[Any]], Awaitable[Confirmed]]
"""The publish with the middleware inside of the present one; raises as ``Queue.publish`` does."""


PublishMiddleware = Callable[[Envelope[Any], Publish], Awaitable[Confirmed]]
"""Awaits the given ``Publish`` with the envelope or a changed one and returns its result, or raises."""


Carry = Callable[[Sequence[Outgoing]], Awaitable[list[DriverError | None]]]
"""Another way to the broker than the queue's own: one result a message, in order."""


class Sending(NamedTuple):
    """How the caller wants one message sent; the middleware does not see it."""

    timeout: float
    connection: Any = None
    carry: Carry | None = None
    group: str = ""


Load = Callable[[], PublishMiddleware]
"""Imports the function of a middleware entry."""


Send = Callable[[Envelope[Any], Sending], Awaitable[Confirmed]]


class Through:
    """Publishes through the middleware of one queue, which is loaded and composed by the first publish."""

    def __init__(self, loads: Sequence[Load], send: Send) -> None:
        self._loads = loads
        self._innermost = send
        self._send: Send | None = None

    async def publish(self, envelope: Envelope[Any], sending: Sending) -> Confirmed:
        """Publish one message."""
        if self._send is None:
            self._send = around([load() for load in self._loads], self._innermost)
        return await self._send(envelope, sending)

    async def publish_each(
        self, items: Sequence[Any], sending: Sending, checked: Callable[[Any], Envelope[Any]]
    ) -> list[PublishResult]:
        """Publish items together, or one after the other in the caller's transaction; one result each, in order.

        Another error than Tasuki's, which only the middleware itself can raise, is raised when all are decided.
        """
        if sending.connection is not None:
            return [await self._publish_item(item, sending, checked) for item in items]
        together = [self._publish_item(item, sending, checked) for item in items]
        results = await asyncio.gather(*together, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if not isinstance(result, BaseException)]

    async def _publish_item(
        self, item: Any, sending: Sending, checked: Callable[[Any], Envelope[Any]]
    ) -> PublishResult:
        id = (item.id if isinstance(item, Envelope) else None) or ""
        try:
            envelope = checked(item)
            if isinstance(envelope, GroupEnvelope):  # the middleware may send another one in its place
                sending = sending._replace(group=envelope.group)
            return await self.publish(envelope, sending)
        except DriverError as error:
            id = error.message_id or id
            return Rejected(id, error, error.retryable) if error.outcome == "rejected" else Unknown(id, error)
        except TasukiError as error:
            return Rejected(id, error, False)


def around(layers: Sequence[PublishMiddleware], send: Send) -> Send:
    """The publish within its layers, the first one outermost."""
    for layer in reversed(layers):
        send = _wrapped(layer, send)
    return send


def _wrapped(layer: PublishMiddleware, inner: Send) -> Send:
    return lambda envelope, sending: layer(envelope, partial(_send, inner, sending))


def _send(inner: Send, sending: Sending, envelope: Envelope[Any]) -> Awaitable[Confirmed]:
    return inner(envelope, sending)


_log = logging.getLogger("tasuki.observer")


Tell = Callable[..., None]


def tell(observers: Iterable[Observer], method: str) -> Tell | None:
    """A function that calls the method of each observer that overrides it; None: no observer does."""
    own = getattr(Observer, method)
    told = [getattr(observer, method) for observer in observers if getattr(type(observer), method) is not own]
    return _contained(told, method) if told else None


def of_stored(told: Tell) -> Callable[[Sequence[Outgoing], Answers], None]:
    """The same for a batch as the driver answers it: a message that another one was kept for was not published."""

    def tell_stored(messages: Sequence[Outgoing], answers: Answers) -> None:
        if any(isinstance(answer, Merged) for answer in answers):
            pairs = [pair for pair in zip(messages, answers, strict=True) if not _is_kept(pair[1])]
            messages = [message for message, _ in pairs]
            answers = [None if isinstance(answer, Merged) else answer for _, answer in pairs]
        if messages:
            told(messages, answers)

    return tell_stored


OnSettled = Callable[[list[Settlement], Collection[Receipt]], None]
"""Gets settlements, and the receipts among them that were stale."""


def told_of_settled(on_settled: OnSettled, observers: Iterable[Observer], consumer: str) -> OnSettled:
    """The same, reported to observers; itself if none of them hears of settlements."""
    told = tell(observers, "on_settled")
    if told is None:
        return on_settled

    def observed(batch: list[Settlement], stale: Collection[Receipt]) -> None:
        on_settled(batch, stale)
        told(consumer, batch, stale)

    return observed


def _is_kept(answer: object) -> bool:
    return isinstance(answer, Merged) and answer.how == "kept"


def _contained(told: list[Tell], method: str) -> Tell:
    failed: set[Tell] = set()

    def tell_all(*args: Any) -> None:
        for each in told:
            try:
                each(*args)
            except Exception:
                if each not in failed:
                    failed.add(each)
                    _log.exception("observer %s fails in %s; later failures there are not logged",
                                   type(each.__self__).__name__, method)  # type: ignore[attr-defined]  # fmt: skip

    return tell_all
