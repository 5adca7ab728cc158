"""Continuity: whether the stream still has the messages that we hold, or other ones under their numbers.

A server that came back from an earlier state, as from a backup, gives the later numbers to other messages, and takes an
acknowledgement by the number alone. So after each connection, and after each sign that a stream was made again, the
newest held message is compared with the one in the stream, by the time at which it was stored. Numbers are given in
order: if that one is the same, all before it are.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from tasuki.drivers.nats.failures import is_message_missing
from tasuki.drivers.nats.protocol.api import ask
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.protocol.receipts import Receipt
from tasuki.drivers.nats.receiving.removing import is_of, read_messages

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
    """Compare held messages with the stream, the newest first.

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
