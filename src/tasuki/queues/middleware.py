"""Middleware of a queue: functions around ``publish``, composed once for each queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from tasuki.contracts.driver import Outgoing
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
