"""Requests: publish, and wait for the reply."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tasuki.app.request_reply.inbox import Inbox
from tasuki.app.request_reply.reply_queues import new_reply_id, reply_queue
from tasuki.clock import Clock
from tasuki.contracts.driver import Driver
from tasuki.errors import HandlerError, InvalidBodyError, PublishError, RequestTimeoutError, TasukiError
from tasuki.handlers.body import check_type
from tasuki.message import CORRELATION_ID, MESSAGE_TYPE, REPLY_TO, HeaderValue, Message
from tasuki.queues.messages.body_type import type_name
from tasuki.queues.messages.headers import ERROR_REPLY
from tasuki.queues.messages.message_builder import seconds
from tasuki.queues.queue import Queue
from tasuki.queues.result import Confirmed
from tasuki.units import Duration, format_duration

Keys = tuple[object, ...]
"""The keys that sign the replies of a reply queue; empty: replies are not signed."""


_PATIENCE = 1.0
"""Seconds that the store has to say how many consumers there are."""


class Requests:
    """The requests of one process; its reply queues are made when they are first needed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._own: dict[tuple[Driver, Keys], Inbox] = {}
        self._declared: dict[Queue, Inbox] = {}

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
        """Publish, and return the handler's result. See :meth:`tasuki.App.request`."""
        _check(headers, returns, options)
        if queue.guard is not None:
            queue.guard.publish(queue.id)
        target = queue.origin or queue  # unguarded: we choose the reply queue, so no policy need allow it
        limit = seconds("reply_timeout", timeout)
        target.check_loop()  # before the reply queue is opened here
        inbox = self._inbox(queue, reply_to)
        correlation_id = uuid.uuid4().hex
        sent = {**(headers or {}), REPLY_TO: inbox.queue.id, CORRELATION_ID: correlation_id}
        try:
            async with asyncio.timeout(limit):
                await inbox.open()
                reply = inbox.expect(correlation_id)
                _check_outcome(await target.publish(body, sent, publish_timeout=limit, **options), queue.id)
                message = await reply
        except TimeoutError:
            if inbox.problem is not None:  # nothing was published
                raise inbox.problem from None
            inbox.give_up(correlation_id, queue)
            raise RequestTimeoutError(
                f"queue {queue.id!r}: no reply within {format_duration(limit)}; {await _why(queue)}"
            ) from None
        finally:
            inbox.forget(correlation_id)
        return _result(inbox.queue, message, returns, queue.id)

    def _inbox(self, queue: Queue, reply_to: Queue | None) -> Inbox:
        if reply_to is not None:
            origin = reply_to.origin or reply_to
            return self._declared.setdefault(origin, Inbox(origin, is_own=False))
        signing = queue.policy.signing
        keys = () if signing is None else (signing.required, *signing.keys.items())  # the same ones after a reload
        key = (queue.driver, keys)
        if (inbox := self._own.get(key)) is None:
            inbox = self._own[key] = Inbox(reply_queue(new_reply_id(), queue, self._clock), is_own=True)
        return inbox

    async def close(self, driver: Driver) -> None:
        """Close the reply queues of this driver; pending requests raise LifecycleError."""
        mine = [key for key in self._own if key[0] is driver]
        theirs = [queue for queue in self._declared if queue.driver is driver]
        inboxes = [*(self._own.pop(key) for key in mine), *(self._declared.pop(queue) for queue in theirs)]
        await asyncio.gather(*(inbox.close() for inbox in inboxes))


def _check(headers: Mapping[str, HeaderValue] | None, returns: Any, options: Mapping[str, Any]) -> None:
    for name in (REPLY_TO, CORRELATION_ID):
        if headers and name in headers:
            raise PublishError(f"header {name!r} of a request is set by the request itself")
    if "connection" in options:
        raise PublishError("a request cannot wait for a reply within the caller's own transaction")
    if returns is not None:
        check_type(returns)


async def _why(queue: Queue) -> str:
    """What a requester without a reply should know; the store may take a second to say who consumes."""
    count: int | None = queue.consumer_count
    if not count and queue.find_consumers is not None:
        count = None
        with suppress(TasukiError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                count = await queue.find_consumers()
    if count == 0:
        return (
            "no worker consumes it, so the message waits: start one with 'tasuki run', or in this program with "
            "'async with app.worker():'"
        )
    return "the message may still be handled; a longer time is reply_timeout='1m'"


def _check_outcome(confirmed: Confirmed, queue: str) -> None:
    """Raise PublishError for a request that another message was kept for: nothing would reply to it."""
    if confirmed.outcome == "kept":
        problem = f"queue {queue!r}: message {confirmed.id!r} has the unique key of this request and was kept"
        raise PublishError(f"{problem}, so there will be no reply; publish it, or request with another key")


def _result(replies: Queue, message: Message, returns: Any, asked: str) -> Any:
    """The result in a reply from the queue ``asked``, converted to the type ``returns`` if there is one.

    Raises:
        HandlerError: the reply carries an error.
        InvalidBodyError: the result does not fit the type, or is larger than its queue takes.
    """
    if message.headers.get(MESSAGE_TYPE) != ERROR_REPLY:
        try:
            return replies.decode(message, Any if returns is None else returns)
        except InvalidBodyError as error:
            if returns is None:
                raise
            problem = f"queue {asked!r}: the reply is not the {type_name(returns)} that returns names: {error}"
            raise InvalidBodyError(problem, kind="Invalid", retryable=False) from error
    body = replies.decode(message)
    told: dict[str, Any] = body if isinstance(body, dict) else {"message": str(body)}
    retryable = told.get("retryable")
    raise HandlerError(
        str(told.get("message", "")),
        kind=str(told.get("kind", "")),
        retryable=retryable if isinstance(retryable, bool) else None,
    )
