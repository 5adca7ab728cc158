"""Replies: sends a handler's result, or its final failure, to the requester of the message."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tasuki.consumers.settling.verdict import CANCELLED, ReplyContent, Verdict
from tasuki.errors import (
    CodecError,
    DriverError,
    PolicyDeniedError,
    PublishError,
    QueueNotFoundError,
    StaleReceiptError,
)
from tasuki.flow.group_records import MemberEnd
from tasuki.message import (
    CONTENT_TYPE,
    CORRELATION_ID,
    GROUP,
    MESSAGE_TYPE,
    REPLY_TO,
    HeaderValue,
    Message,
    is_member,
    wants_answer,
)
from tasuki.queues.messages.headers import ERROR_REPLY, RequesterGoneError
from tasuki.queues.middleware import Carry
from tasuki.queues.queue import Queue

if TYPE_CHECKING:
    from tasuki.consumers.delivery import Delivery
    from tasuki.consumers.settling.handover import Handover
    from tasuki.observe.metrics import ConsumerMetrics

_log = logging.getLogger("tasuki.consumer")

_KINDS = {"max_attempts": "Internal", "not_retryable": "Internal", "worker_died": "Internal", "expired": "Timeout"}
_BYTES_LIKE = (bytes, bytearray, memoryview)


def failure(verdict: Verdict) -> ReplyContent:
    """The answer for a message that was given up."""
    kind = verdict.kind or _KINDS.get(verdict.reason, "Invalid")
    retryable = verdict.retryable if verdict.kind or verdict.reason == "max_attempts" else False
    return ReplyContent({"kind": kind, "message": verdict.error, "retryable": retryable}, is_error=True)


def cancelled(message: Message) -> Verdict:
    """The verdict for a cancelled message: forget it; a requester gets an error."""
    return CANCELLED._replace(answer=failure(CANCELLED)) if wants_answer(message) else CANCELLED


def discarded(message: Message, verdict: Verdict) -> Verdict:
    """The verdict for an expired message; what follows a message that is dropped gets an error."""
    if verdict.action != "ack" or not is_member(message):
        return verdict
    error = {"kind": "Timeout", "message": "its time to live has passed", "retryable": False}
    return verdict._replace(answer=ReplyContent(error, is_error=True))


class ReplySender:
    """Publishes the answers of one consumer."""

    def __init__(self, queue: Queue, metrics: ConsumerMetrics) -> None:
        self._queue = queue
        self._metrics = metrics

    async def send(self, delivery: Delivery, answer: ReplyContent, handover: Handover | None = None) -> None:
        """Publish the answer to a request; returns when it is confirmed.

        An answer that cannot be sent is counted and logged.

        ``handover``: carries the ack of the request along, where the driver can.

        Raises:
            StaleReceiptError: the request is not held any more, and nothing was published.
            DriverError: the reply queue cannot take it now; trying again may help.
        """
        name, holder = delivery.received.headers[REPLY_TO], delivery.holder
        try:
            if not isinstance(name, str):
                raise QueueNotFoundError(f"{name!r} is not the id of a queue")
            async with holder.host.reply_queue(name, self._queue, holder.guard) as target:
                carry = None if handover is None else handover.to(target)
                await self._send(target, delivery, answer, carry)
        except RequesterGoneError:
            self._metrics.requesters_gone += 1
            _log.warning("no reply to %r: its requester is gone", name, extra=delivery.log_fields())
        except (QueueNotFoundError, PolicyDeniedError) as error:
            self._metrics.result_errors += 1
            self._complain(delivery, str(error))

    @staticmethod
    async def end_member(delivery: Delivery, answer: ReplyContent) -> None:
        """Record how a message of a group has ended, and publish what follows. Raises DriverError: try it again."""
        ended = MemberEnd(error=answer.body) if answer.is_error else MemberEnd(answer.body, problem=answer.unfit)
        await delivery.holder.host.end_member(delivery.received.headers[GROUP], ended)

    async def _send(self, target: Queue, delivery: Delivery, answer: ReplyContent, carry: Carry | None) -> None:
        """Publish an answer, or an error instead. Raises QueueNotFoundError when the queue is gone."""
        if answer.unfit:
            await self._apologise(target, delivery, answer, answer.unfit, carry)
            return
        try:
            await self._publish(target, delivery.received, answer, carry)
        except (QueueNotFoundError, StaleReceiptError):
            raise
        except (CodecError, PublishError, DriverError) as error:
            if isinstance(error, DriverError) and error.retryable:
                raise
            await self._apologise(target, delivery, answer, str(error), carry)

    async def _apologise(
        self, target: Queue, delivery: Delivery, answer: ReplyContent, problem: str, carry: Carry | None
    ) -> None:
        """Reply that the result cannot be sent. The handler has succeeded, so the message is done all the same."""
        self._metrics.result_errors += 1
        self._complain(delivery, problem)
        if answer.is_error:
            return
        body = {"kind": "Internal", "message": f"the result cannot be sent: {problem}", "retryable": False}
        try:
            await self._publish(target, delivery.received, ReplyContent(body, is_error=True), carry)
        except StaleReceiptError:
            raise
        except (CodecError, PublishError, DriverError) as again:
            if isinstance(again, DriverError) and again.retryable:
                raise
            self._complain(delivery, str(again))

    async def _publish(self, target: Queue, request: Message, answer: ReplyContent, carry: Carry | None) -> None:
        headers: dict[str, HeaderValue] = {CORRELATION_ID: request.headers.get(CORRELATION_ID, request.id)}
        if answer.is_error:
            headers[MESSAGE_TYPE] = ERROR_REPLY
        body = answer.body
        if not isinstance(body, _BYTES_LIKE):  # written as a result: the requester says which type it is
            headers[CONTENT_TYPE], body = target.codec.name, target.codec.encode(body)
        if carry is None:
            await target.publish(body, headers)
        else:
            await target.publish_by(carry, body, headers)
        self._metrics.replied += 1

    def _complain(self, delivery: Delivery, why: str) -> None:
        _log.error(
            "no reply to %r: %s",
            delivery.received.headers[REPLY_TO],
            why,
            extra=delivery.log_fields(),
        )
