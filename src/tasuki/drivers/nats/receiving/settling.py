"""Settling: acknowledgements as frames, sent all at once; the last one of each lane is answered for all before it.

The server works through the acknowledgements of a consumer in the order in which one connection sent them, so its
answer to the last one says that all are done.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from tasuki.contracts.driver import Ack, Settlement
from tasuki.drivers.nats.failures import NO_RESPONDERS
from tasuki.drivers.nats.protocol.api import SECOND
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.protocol.exchange import frame
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
