"""Removing: an ack that no consumer knows the delivery of, or answers, is carried out at the stream.

A consumer may say nothing to an ack for two reasons. It has forgotten the delivery, as its server died, and will hand
the message out again. Or it has taken the ack, and its log is not committed yet: ``CONSUMER.INFO`` shows the committed
deliveries, and lags behind its leader while a server catches up. A client cannot tell the one from the other, and the
message is handled in both. So the message is removed from the stream, which has the same effect as an ack in a work
queue; an ack that is committed later finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tasuki.drivers.nats.failures import is_message_missing, is_stream_or_message_missing, lost
from tasuki.drivers.nats.protocol.api import Answer, Request, ask, demand, seconds_of
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.protocol.receipts import Receipt

_SAME = 1e-5
"""Seconds by which two readings of the time at which one message was stored may differ, as they are rounded."""


async def remove(connection: Connection, queue: str, stream: str, receipts: Collection[Receipt]) -> set[int]:
    """Remove the messages of these receipts; returns the numbers of all that are not in the stream then.

    A number that another message has by now, as the stream was made again, is not touched and not returned.

    Raises:
        BrokerUnavailableError, BrokerTimeoutError: some may have been removed; trying again does no harm.
    """
    by_number = {receipt.sequence: receipt for receipt in receipts}
    found = await read_messages(connection, queue, stream, list(by_number))
    ours = [number for number, answer in found.items() if is_of(answer, by_number[number])]
    gone = {number for number, answer in found.items() if is_message_missing(answer.get("error"))}
    if not ours:
        return gone
    requests: list[Request] = [(f"STREAM.MSG.DELETE.{stream}", {"seq": number, "no_erase": True}) for number in ours]
    await ask(connection, queue, requests)
    # What counts is that they are gone: a removal may fail because the ack was committed meanwhile.
    left = await read_messages(connection, queue, stream, ours)
    if not all(is_message_missing(answer.get("error")) for answer in left.values()):
        raise lost("messages cannot be removed", driver=connection.address.driver, queue=queue, outcome="unknown")
    return gone | set(ours)


async def read_messages(connection: Connection, queue: str, stream: str, numbers: Sequence[int]) -> dict[int, Answer]:
    """What the stream has under these numbers."""
    requests: list[Request] = [(f"STREAM.MSG.GET.{stream}", {"seq": number}) for number in numbers]
    answers = await demand(connection, queue, *requests, unless=is_stream_or_message_missing)
    return dict(zip(numbers, answers, strict=True))


def is_of(answer: Answer, receipt: Receipt) -> bool:
    """Whether it is the message of the receipt, by the time at which it was stored."""
    message = answer.get("message")
    return message is not None and abs(seconds_of(message["time"]) - receipt.published_at) < _SAME
