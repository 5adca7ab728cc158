"""SettleState: the open deliveries of one queue, from their start to their settlement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from tasuki.clock import Clock
from tasuki.contracts.driver import Ack, Nack, Receipt, Release, Settlement
from tasuki.drivers.nats.failures import lost
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.setup import delivered_up_to
from tasuki.drivers.nats.receiving import arrivals
from tasuki.drivers.nats.receiving.deliveries import MARGIN, Held, Table
from tasuki.drivers.nats.receiving.settling import ACK, IN_PROGRESS, NAK, breaks_of, confirmed, nak, remove
from tasuki.drivers.nats.records.side_records import LastError, Note, SideRecords
from tasuki.errors import BrokerTimeoutError, DriverError
from tasuki.system.tasks import Tasks

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
        await self._records.write(connection, [held.started() for held in begun])
        for held in begun:
            held.is_started = held.is_noted = True

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
                held.is_noted = False

    def _is_open(self, held: Held, now: float) -> bool:
        return not held.is_gone and not self._table.is_over(held, now)

    async def _settle(self, connection: Connection, items: list[_Item]) -> list[Receipt]:
        """Write down what does not count or is hidden, then tell the server; returns what it knows nothing of."""
        items.sort(key=lambda item: item[0].sequence)  # the order in which they come back
        try:
            taken = await self._taken(connection, items)
            items = [item for item in items if item[0].sequence not in taken]
            left = [item for item in items if not item[0].is_done]
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
        noted = [held.sequence for held, kind in items if held.is_noted and type(kind) is Ack]
        await self._records.erase(connection, noted)
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


def _parts(held: Iterable[Held]) -> dict[arrivals.Receipt, Held]:
    """Deliveries by what their receipts say."""
    return {parts: each for each in held if (parts := arrivals.read(each.receipt)) is not None}


def _content(settlement: Settlement) -> bytes:
    return ACK if isinstance(settlement, Ack) else nak(settlement.delay)
