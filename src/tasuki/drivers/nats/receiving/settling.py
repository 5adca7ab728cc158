"""Settling: acknowledgements as frames, and the deliveries that no consumer knows any more.

The server works through the acknowledgements of a consumer in the order in which one connection sent them. So all are
sent at once, and the answer to the last one of each lane confirms all before it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import inf
from typing import NamedTuple

from tasuki.contracts.driver import Ack, Settlement
from tasuki.drivers.nats.failures import NO_RESPONDERS, is_message_missing, is_stream_or_message_missing, lost
from tasuki.drivers.nats.protocol.api import SECOND, Answer, Request, ask, demand, seconds_of
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.protocol.exchange import frame
from tasuki.drivers.nats.receiving.arrivals import Receipt
from tasuki.errors import UnsupportedError

ACK = b"+ACK"
NAK = b"-NAK"
ACKED_WITHIN = 2.0
"""Seconds after which an ack without an answer is looked into: a server says nothing to one that it does not take."""
_LONGEST = 9e9
"""Seconds; the server counts nanoseconds in 63 bits, and has no more than 292 years."""
IN_PROGRESS = b"+WPI"
_HARMLESS = frozenset({ACK, IN_PROGRESS})


def nak(delay: float) -> bytes:
    """Not now: again after ``delay`` seconds, counted by the server from when it hears of it."""
    return b'-NAK {"delay":%d}' % int(min(delay, _LONGEST) * SECOND + 1) if delay > 0 else NAK


def check_delays(batch: Sequence[Settlement], *, driver: str, queue: str) -> None:
    """Refuse delays that no server can keep (clause 32). Raises UnsupportedError; nothing is settled."""
    for each in batch:
        if not isinstance(each, Ack) and not 0.0 <= each.delay < inf:
            problem = f"the delay of a nack or release is {each.delay} seconds; give 0 or more, and a finite number"
            raise UnsupportedError(problem, driver=driver, queue=queue)


async def confirmed(connection: Connection, signs: Sequence[tuple[str, str, bytes]]) -> set[str]:
    """Send signs ``(lane, receipt, content)`` in their order; returns the lanes without an answer.

    Raises:
        BrokerUnavailableError, BrokerTimeoutError: it is unknown which of them have arrived.
    """
    if not signs:
        return set()
    last = {lane: index for index, (lane, _, _) in enumerate(signs)}
    before = b"".join(
        frame(receipt, content) for index, (lane, receipt, content) in enumerate(signs) if last[lane] != index
    )
    requests = [(signs[index][1], signs[index][2]) for index in last.values()]
    # Twice acked, or renewed, is done once.
    is_repeated = all(content in _HARMLESS for _, _, content in signs)
    within = ACKED_WITHIN if is_repeated else None
    exchange = await connection.exchange(requests, before=before, is_repeated=is_repeated, within=within)
    exchange.check()
    return {lane for lane, answer in zip(last, exchange.answers, strict=True) if answer == NO_RESPONDERS}


_SAME = 1e-5
"""Seconds by which two readings of the time at which one message was stored may differ, as they are rounded."""


async def remove(connection: Connection, queue: str, stream: str, receipts: Collection[Receipt]) -> set[int]:
    """Carry acks out at the stream that no consumer answers; returns the numbers of all messages that are gone then.

    A consumer may say nothing to an ack for two reasons. Its server died, so that it has forgotten the delivery and
    will hand the message out again. Or it has taken the ack, and its log is not committed yet: ``CONSUMER.INFO`` shows
    the committed deliveries, and lags behind its leader while a server catches up. A client cannot tell the one from
    the other, and the message is handled in both. So the message is removed from the stream, which has the same effect
    as an ack in a work queue; a later commit of the ack finds nothing to do.

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


_TOGETHER = 64
"""Messages that are read at once, where the newest one is not the same: their bodies come with them."""


class Breaks(NamedTuple):
    """The numbers of held messages that are not in the stream."""

    gone: set[int]
    """Removed: settled by another process, perhaps, or by a settlement of ours whose answer was lost."""
    lost: set[int]
    """The stream was put back to a state before them: their numbers are another message's, or will be."""


NO_BREAKS = Breaks(set(), set())


async def breaks_of(connection: Connection, queue: str, stream: str, receipts: Collection[Receipt]) -> Breaks:
    """Find out whether the stream still has the held messages, or other ones under their numbers.

    A server that was put back to an earlier state, as from a backup, gives the later numbers to other messages, and
    takes an acknowledgement by the number alone. So after each connection, and after each sign that a stream was made
    again, the newest held message is compared with the one in the stream, by the time at which it was stored. Numbers
    are given in order: if that one is the same, so are all before it.

    Raises:
        BrokerUnavailableError, BrokerTimeoutError: it is not known.
    """
    by_number = {receipt.sequence: receipt for receipt in receipts}
    left, size = sorted(by_number, reverse=True), 1
    gone: set[int] = set()
    lost: set[int] = set()
    is_same = False
    while left and not is_same:
        part, left, size = left[:size], left[size:], _TOGETHER
        found = await read_messages(connection, queue, stream, part)
        for number in part:
            if is_of(found[number], by_number[number]):
                is_same = True
            elif is_message_missing(found[number].get("error")):
                gone.add(number)
            else:
                lost.add(number)
    if gone:
        (info,) = await ask(connection, queue, [(f"STREAM.INFO.{stream}", {})])
        last = int(info.get("state", {}).get("last_seq", 0))
        lost |= {number for number in gone if number > last}
    return Breaks(gone - lost, lost)
