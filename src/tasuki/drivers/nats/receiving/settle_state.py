"""SettleState: starts, renews and ends the open deliveries of one queue, and sends their acknowledgements.

The server works through the acknowledgements of a consumer in the order in which one connection sent them. So all are
sent at once, and the answer to the last one of each lane confirms all before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from math import inf
from typing import NamedTuple

from tasuki.clock import Clock
from tasuki.contracts.driver import Ack, Nack, Receipt, Release, Settlement
from tasuki.drivers.nats.failures import NO_RESPONDERS, is_message_missing, is_stream_or_message_missing, lost
from tasuki.drivers.nats.protocol.api import SECOND, Answer, Request, ask, demand, removing, seconds_of
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.protocol.exchange import frame
from tasuki.drivers.nats.queues.setup import delivered_up_to
from tasuki.drivers.nats.receiving import deliveries
from tasuki.drivers.nats.receiving.deliveries import MARGIN, Held, ReplyParts, Table
from tasuki.drivers.nats.records.side_records import LastError, Note, SideRecords
from tasuki.errors import BrokerTimeoutError, DriverError, UnsupportedError
from tasuki.system.tasks import Tasks

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


async def remove(connection: Connection, queue: str, stream: str, receipts: Collection[ReplyParts]) -> set[int]:
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
    await ask(connection, queue, [removing(stream, number) for number in ours])
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


def is_of(answer: Answer, receipt: ReplyParts) -> bool:
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


async def breaks_of(connection: Connection, queue: str, stream: str, receipts: Collection[ReplyParts]) -> Breaks:
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


_Item = tuple[Held, Settlement]


class SettleState:
    """Starts, settles and renews the deliveries of one queue.

    Args:
        queue: its name.
        stream: its stream.
        on_silence: called when a consumer does not answer to a settlement.
        records: the queue's notes.
        table: the open deliveries.
        tasks: carries settlements out.
        clock: the time.
    """

    def __init__(
        self,
        queue: str,
        stream: str,
        on_silence: Callable[[], None],
        records: SideRecords,
        table: Table,
        tasks: Tasks,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._stream = stream
        self._on_silence = on_silence
        self._records = records
        self._table = table
        self._tasks = tasks
        self._clock = clock

    async def start(self, connection: Connection, batch: Sequence[Receipt]) -> list[Receipt]:
        """Note that the handlers of these deliveries begin; returns the receipts that were stale."""
        await self._assure(connection)
        now = self._clock.monotonic()
        found = {receipt: self._table.find(receipt) for receipt in batch}
        begun = [held for held in found.values() if held and self._is_open(held, now) and not held.is_ending]
        taken = await self._taken(connection, [(held, Ack(held.receipt)) for held in begun])
        begun = [held for held in begun if held.sequence not in taken]
        await self._tasks.run(self._start(connection, [held for held in begun if not held.is_started]))
        stale = set(found) - {held.receipt for held in begun}
        return [receipt for receipt in batch if receipt in stale]

    async def _start(self, connection: Connection, begun: list[Held]) -> None:
        notes = await self._records.write(connection, [held.started() for held in begun])
        for held, note in zip(begun, notes, strict=True):
            held.is_started, held.note = True, note

    async def settle(self, connection: Connection, batch: Sequence[Settlement]) -> list[Receipt]:
        """End deliveries, even if the caller is cancelled; returns the receipts that were stale."""
        await self._tasks.run(self._assure(connection))
        stale: list[Receipt] = []
        items: list[_Item] = []
        for settlement in batch:
            held = self._table.find(settlement.receipt)
            if held is None or held.is_ending or (held.is_gone and not isinstance(settlement, Ack)):
                stale.append(settlement.receipt)
            else:
                held.is_ending = True
                items.append((held, settlement))
        if items:
            stale += await self._tasks.run(self._settle(connection, items))
        return stale

    async def extend(self, connection: Connection, batch: Sequence[Receipt], lease: float) -> list[Receipt]:
        """Renew leases, on whichever loop the connection is; returns the receipts that were stale."""
        await self._assure(connection)
        now = self._clock.monotonic()
        stale: list[Receipt] = []
        items: list[Held] = []
        for receipt in batch:
            held = self._table.find(receipt)
            if held is None or not self._is_open(held, now):
                stale.append(receipt)
            else:
                items.append(held)
        taken = await self._taken(connection, [(held, Ack(held.receipt)) for held in items])
        stale += [held.receipt for held in taken.values()]
        items = [held for held in items if held.sequence not in taken]
        if not items:
            return stale
        usual = self._table.lease
        # The server renews for the consumer's own lease; another one is put off like a nack, and yet not given up.
        is_usual = abs(lease - usual) < 0.001
        content = IN_PROGRESS if is_usual else nak(lease)
        unknown = await self._confirmed(connection, items, [(held.lane, held.receipt, content) for held in items])
        for held in items:
            if held.receipt not in unknown:
                held.since = now if is_usual else now - usual + lease
            elif not held.is_ending:  # else its settlement finds out what became of it
                stale.append(held.receipt)
        return stale

    async def close(self, connection: Connection | None) -> None:
        """Return held messages as they are."""
        if connection is None:
            self._table.clear()
            return
        with suppress(DriverError):  # else their leases end by themselves
            await self._assure(connection)
        now = self._clock.monotonic()
        living = [held for held in self._table.living(now) if not held.is_gone and not self._table.is_silent(held, now)]
        doubtful = self._table.doubtful(connection.opened_at)
        held = sorted((each for each in living if each not in doubtful), key=lambda held: held.sequence)
        self._table.clear()
        if not held:
            return
        with suppress(DriverError):
            await self._records.write(connection, [each.left() for each in held])
            await confirmed(connection, [(each.lane, each.receipt, NAK) for each in held])

    async def _assure(self, connection: Connection) -> None:
        """Compare what we hold with the stream, if the connection is newer, or the stream in doubt.

        What the stream has lost is not ours any more. Raises DriverError where it is not known.
        """
        doubtful = self._table.doubtful(connection.opened_at)
        if not doubtful:
            return
        now = asyncio.get_running_loop().time()
        breaks = await breaks_of(connection, self._queue, self._stream, _parts(doubtful).keys())
        for held in doubtful:
            held.sure_at = now
            if held.sequence in breaks.lost:
                self._table.remove(held)
            elif held.sequence in breaks.gone:
                held.is_gone = held.is_done = True
                held.note, held.is_delayed = None, False

    def _is_open(self, held: Held, now: float) -> bool:
        return not held.is_gone and not self._table.is_over(held, now)

    async def _settle(self, connection: Connection, items: list[_Item]) -> list[Receipt]:
        """Write down what does not count or is hidden, then tell the server; returns what it knows nothing of."""
        items.sort(key=lambda item: item[0].sequence)  # the order in which they come back
        try:
            taken = await self._taken(connection, items)
            items = [item for item in items if item[0].sequence not in taken]
            left = [item for item in items if not item[0].is_done]
            announced = [held.sequence for held, _ in items if held.note is None and held.is_delayed]
            await self._records.erase(connection, (), announced)  # first: they are under the old time
            notes = [self._note(held, kind) for held, kind in left if not isinstance(kind, Ack)]
            await self._records.write(connection, notes)
            signs = [(held.lane, held.receipt, _content(kind)) for held, kind in left]
            unknown = await self._confirmed(connection, [held for held, _ in left], signs)
        except BaseException:
            for held, _ in items:
                held.is_ending = False
            raise
        for held in taken.values():
            self._table.remove(held)
        for held, _ in items:
            self._table.remove(held)
        numbers = [held.note.number for held, kind in items if held.note is not None and type(kind) is Ack]
        await self._records.erase(connection, numbers)
        stale = [held.receipt for held in taken.values()]
        return [*stale, *(held.receipt for held, _ in items if held.receipt in unknown)] if unknown else stale

    async def _confirmed(
        self, connection: Connection, items: Sequence[Held], signs: Sequence[tuple[str, str, bytes]]
    ) -> set[str]:
        """Tell the server; returns the receipts that it knows nothing of, as their consumer is gone or has forgotten.

        An ack of those is done all the same, unless the message is not there to be removed. So is one that was left
        without an answer twice: a leader that took an ack, and lost it before the others had it, says nothing to the
        next one, and the message would stay held.

        Raises DriverError where it may have heard of nothing: a consumer has no leader just now.
        """
        problem: DriverError | None = None
        try:
            silent = await confirmed(connection, signs)
        except BrokerTimeoutError as error:
            problem, silent = error, {held.lane for held in items}
        if not silent:
            return set()
        asked = [held for held in items if held.lane in silent]
        unknown = await self._unknown(connection, asked)
        acks = {receipt for _, receipt, content in signs if content == ACK}
        acked = [held for held in asked if held.receipt in acks and (held.receipt in unknown or held.is_unanswered)]
        parts = _parts(acked)
        removed = await remove(connection, self._queue, self._stream, parts.keys()) if parts else set()
        gone = {held.receipt for held in parts.values() if held.sequence in removed}
        if all(held.receipt in gone | unknown for held in asked):
            return unknown - gone
        for held in asked:  # the next try finds the others alone
            held.is_unanswered = problem is not None
            if held.receipt in gone:
                held.is_done = True
            elif held.receipt in unknown:
                self._table.remove(held)
        raise problem or lost("a consumer has no leader now", driver=connection.address.driver, outcome="unknown")

    async def _unknown(self, connection: Connection, held: Sequence[Held]) -> set[str]:
        """Receipts of which no consumer knows; it may know of them all the same, see ``settling.remove``."""
        self._on_silence()
        lanes = {each.lane for each in held}
        reached = await delivered_up_to(connection, self._queue, self._stream, lanes)
        return {each.receipt for each in held if (last := reached[each.lane]) is None or each.sequence > last}

    async def _taken(self, connection: Connection, items: list[_Item]) -> dict[int, Held]:
        """The deliveries that were not renewed in time, and whose message another process has by now."""
        over = self._clock.monotonic() - self._table.silence
        nearly = over + self._table.silence * MARGIN
        late = [
            held for held, kind in items if not held.is_done and held.since <= (over if type(kind) is Ack else nearly)
        ]
        if not late:
            return {}
        notes = await self._records.read(connection, [held.sequence for held in late])
        return {
            held.sequence: held
            for held, note in zip(late, notes, strict=True)
            if note is not None and note.delivered >= held.delivered
        }

    def _note(self, held: Held, settlement: Nack | Release) -> tuple[Note, str]:
        due = self._clock.time() + settlement.delay if settlement.delay > 0 else 0.0
        if isinstance(settlement, Release):
            return held.released(due)
        return held.failed(due, LastError(settlement.error, self._clock.time()) if settlement.error else None)


def _parts(held: Iterable[Held]) -> dict[deliveries.ReplyParts, Held]:
    """Deliveries by what their receipts say."""
    return {parts: each for each in held if (parts := deliveries.read(each.receipt)) is not None}


def _content(settlement: Settlement) -> bytes:
    return ACK if isinstance(settlement, Ack) else nak(settlement.delay)
