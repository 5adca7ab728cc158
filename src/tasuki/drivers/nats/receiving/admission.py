"""Admission: received messages become deliveries, completed from the records, and not before their time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from math import inf

from tasuki.clock import Clock
from tasuki.contracts.driver import Received
from tasuki.drivers.nats.protocol.api import ask
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.receiving.deliveries import Arrival, Held, ParsedDelivery, Table
from tasuki.drivers.nats.receiving.settle_state import NAK, NO_BREAKS, breaks_of, confirmed, nak
from tasuki.drivers.nats.records.receivers import Lines
from tasuki.drivers.nats.records.side_records import SideRecords
from tasuki.errors import DriverError
from tasuki.system.tasks import Tasks

_FRESH = 0.5
"""Share of its time without a renewal that a message must have left when it is handed over."""
_AGAIN = 2.0
"""Seconds after which the server delivers a message again that another process may hold."""
_CLEANED = 1000
"""Notes on messages that are long gone, erased at a time."""


class Admission:
    """Of one queue.

    Args:
        queue: its name.
        stream: its stream.
        records: its notes.
        table: takes the deliveries that begin.
        tasks: runs reads of the records to their end.
        clock: the time.
        connect: gives the connection in use.
        lines: what other processes hold.
    """

    def __init__(
        self,
        queue: str,
        stream: str,
        records: SideRecords,
        table: Table,
        tasks: Tasks,
        clock: Clock,
        connect: Callable[[], Awaitable[Connection]],
        lines: Lines,
    ) -> None:
        self._queue = queue
        self._stream = stream
        self._records = records
        self._table = table
        self._tasks = tasks
        self._clock = clock
        self._connect = connect
        self._lines = lines
        self._silent_since: dict[int, float] = {}
        """When a message came first that another process may hold (loop time)."""
        self._noted: Collection[int] = ()
        self._recalled_on: Connection | None = None

    def forget(self) -> None:
        """Consumers may have been made again, and know of no earlier delivery."""
        self._recalled_on = None

    async def recall(self, connection: Connection) -> None:
        """Which messages have a note: a server that died, and a consumer made again, may have forgotten deliveries."""
        if self._recalled_on is connection:
            return
        notes = await self._records.notes(connection)
        (info,) = await ask(connection, self._queue, [(f"STREAM.INFO.{self._stream}", {})])
        state = info.get("state", {"last_seq": inf})
        # A note on a message that is not there yet is from before the stream was put back to an earlier state.
        gone = [number for number in notes if not state.get("first_seq", 0) <= number <= state["last_seq"]]
        self._noted = notes.keys()
        self._recalled_on = connection
        await self._records.erase(connection, (), gone[:_CLEANED])

    async def admit(
        self, connection: Connection, arrivals: Sequence[Arrival], put_back: Callable[[Sequence[Arrival]], None]
    ) -> list[Received]:
        """Begin the deliveries of messages whose time has come; the others are put off.

        ``put_back`` takes what cannot be handed over now.
        """
        oldest = asyncio.get_running_loop().time() - self._table.silence * _FRESH
        items = [ParsedDelivery(arrival) for arrival in arrivals if arrival.at > oldest]
        now = self._clock.time()
        if any(item.head.due > now or self._may_be_noted(item) for item in items):

            def untaken(items: list[ParsedDelivery]) -> None:
                put_back([item.arrival for item in items])

            try:
                items = await self._tasks.run(self._admitted(connection, items), untaken)
            except DriverError:
                untaken(items)
                raise
        now, loop_now = self._clock.monotonic(), asyncio.get_running_loop().time()
        return [self._begin(item, now, loop_now) for item in items]

    async def give_back(self, arrivals: Sequence[Arrival]) -> None:
        """Return messages that no receive took; if that fails, their lease ends by itself."""
        with suppress(DriverError):
            connection = await self._connect()
            doubtful = [arrival.parts for arrival in arrivals if arrival.at < connection.opened_at]
            gone, lost = await breaks_of(connection, self._queue, self._stream, doubtful) if doubtful else NO_BREAKS
            ours = [arrival for arrival in arrivals if arrival.parts.sequence not in gone | lost]
            items = await self._with_notes(connection, [ParsedDelivery(arrival) for arrival in ours])
            items.sort(key=lambda item: item.arrival.parts.sequence)
            # Without a note a delivery that has lapsed stays what it is: its last holder may still have the message.
            await self._records.write(connection, [item.returned() for item in items if not item.has_lapsed])
            await confirmed(connection, [item.sign(NAK) for item in items])

    def _begin(self, item: ParsedDelivery, now: float, loop_now: float) -> Received:
        arrival, parts = item.arrival, item.arrival.parts
        since = now - (loop_now - arrival.at)
        self._table.add(
            Held(
                arrival.receipt,
                parts.consumer,
                parts.sequence,
                item.delivered,
                since,
                arrival.at,
                item.failures,
                item.is_suspect,
                item.last_error,
                note=item.note,
                is_delayed=item.head.due > 0,
            )
        )
        head = item.head
        return Received(head.id, item.body, head.headers, arrival.receipt, 1 + item.failures, item.is_suspect)

    async def _admitted(self, connection: Connection, items: list[ParsedDelivery]) -> list[ParsedDelivery]:
        """The messages that can be handed over now; who holds a lapsed one is found out beside the receive."""
        ready = await self._with_notes(connection, items)
        lapsed = [item for item in ready if item.has_lapsed]
        if lapsed and self._table.lease > self._table.silence:
            self._tasks.start(self._inquire(connection, lapsed), "ask for lapsed messages")
            return [item for item in ready if not item.has_lapsed]
        # So that its last holder, which may only have been slow, sees that it has lost it.
        notes = await self._records.write(connection, [item.lapsed() for item in lapsed])
        for item, note in zip(lapsed, notes, strict=True):
            item.note = note
        return ready

    async def _with_notes(self, connection: Connection, items: list[ParsedDelivery]) -> list[ParsedDelivery]:
        """Read the notes on messages that were delivered before, and put off those whose time has not come."""
        again = [item for item in items if self._may_be_noted(item)]
        if again:
            notes = await self._records.read(connection, [item.arrival.parts.sequence for item in again])
            for item, note in zip(again, notes, strict=True):
                item.learn(note)
        now = self._clock.time()
        await self._put_off(connection, [item for item in items if item.due > now])
        return [item for item in items if item.due <= now]

    async def _inquire(self, connection: Connection, items: list[ParsedDelivery]) -> None:
        """Put off lapsed messages whose last holder may live; return the others, which are delivered again at once.

        The question takes seconds where a process has died or does not answer, so no receive waits for it. If this
        fails, the leases of the messages end by themselves.
        """
        with suppress(DriverError):
            kept = await self._held_elsewhere(connection, [item.arrival.parts.sequence for item in items])
            held = [item for item in items if item.arrival.parts.sequence in kept]
            free = [item for item in items if item.arrival.parts.sequence not in kept]
            await confirmed(connection, [item.sign(nak(_AGAIN)) for item in held])
            # The last holder, which may only have been slow, sees by the note that it has lost its message.
            await self._records.write(connection, [item.returned() for item in free])
            await confirmed(connection, [item.sign(NAK) for item in free])

    async def _held_elsewhere(self, connection: Connection, lapsed: list[int]) -> set[int]:
        """Which messages that were not renewed a living process may hold, for the rest of their leases.

        It may be this process: one that is fetched, or whose handler outlasts its consumer, is renewed less often.

        They get no note: the records stay as they are, so a settlement of the last holder is accepted.
        """
        lease = self._table.lease
        said = await self._lines.ask(connection, self._queue, lapsed, lease)
        now, rest = asyncio.get_running_loop().time(), lease - self._table.silence
        since = self._silent_since = {each: at for each, at in self._silent_since.items() if now - at < 2 * lease}
        kept = {each for each in lapsed if each in said.held or self._table.has(each, self._clock.monotonic())}
        if said.may_be_held:
            kept |= {each for each in lapsed if now - since.setdefault(each, now) < rest or said.is_suspended}
        return kept

    def _may_be_noted(self, item: ParsedDelivery) -> bool:
        parts = item.arrival.parts
        return parts.delivered > 1 or parts.sequence in self._noted

    async def _put_off(self, connection: Connection, items: list[ParsedDelivery]) -> None:
        """Hide messages until their time; these deliveries do not count."""
        if items:
            await self._records.write(connection, [item.returned(item.due) for item in items])
            now = self._clock.time()
            await confirmed(connection, [item.sign(nak(item.due - now)) for item in items])
