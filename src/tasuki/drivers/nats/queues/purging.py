"""Purging: removes the messages that were there and not held when it began.

The server can remove all of a lane up to a number, held ones too. So that is done where nothing is with a worker; else
messages are taken as a worker takes them, and acked.
"""

from __future__ import annotations

from tasuki.clock import Clock
from tasuki.drivers.nats.protocol.api import Answer, Request, ask, demand, erasing
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.lanes import Lane
from tasuki.drivers.nats.queues.names import Names
from tasuki.drivers.nats.queues.open_queue import OpenQueue
from tasuki.drivers.nats.receiving.arrivals import Arrival, read
from tasuki.drivers.nats.receiving.settling import ACK, confirmed

_MOST = 1000
_TURN = 0.2
"""Seconds that a purge waits for its turn beside the receives of this process, and for a last message."""


class Purging:
    """One purge of one queue."""

    def __init__(self, queue: OpenQueue, names: Names, connection: Connection, clock: Clock) -> None:
        self._queue = queue
        self._name = queue.spec.name
        self._names = names
        self._connection = connection
        self._clock = clock
        self._last = 0
        """The number of the last message that is removed."""

    async def purge(self) -> int:
        """Remove them; returns how many."""
        lanes = self._queue.plan.lanes()
        stream: Request = f"STREAM.INFO.{self._queue.stream}", {}
        consumers: list[Request] = [(f"CONSUMER.INFO.{self._queue.stream}.{lane.name}", {}) for lane in lanes]
        info, *states = await demand(self._connection, self._name, stream, *consumers)
        self._last = int(info["state"]["last_seq"])
        await self._queue.put_off()  # else they are neither hidden nor waiting
        removed = await self._purge_hidden()
        for lane, state in zip(lanes, states, strict=True):
            if int(state["num_ack_pending"]) == 0:
                removed += await self._purge_lane(lane) if int(state["num_pending"]) else 0
            else:
                removed += await self._purge_rest(lane, state)
        if any(int(state["num_ack_pending"]) for state in states):
            removed += await self._purge_hidden()  # what another process was putting off when this began
        return removed

    async def _purge_hidden(self) -> int:
        """What waits for its time is known to the consumer, so it must hear of it: an ack with the receipt of then."""
        notes = await self._queue.records.hidden(self._connection, self._clock.time())
        sequences = [note.sequence for note in notes if note.sequence <= self._last]
        receipts = await self._queue.records.receipts(self._connection, sequences)
        signs = [(parts.consumer, receipt, ACK) for receipt in receipts.values() if (parts := read(receipt))]
        await confirmed(self._connection, signs)
        await self._queue.records.erase(self._connection, sequences)
        return len(signs)

    async def _purge_lane(self, lane: Lane) -> int:
        """All of it at once: no process holds any of it, or did when the purge began."""
        request = erasing(self._queue.stream, self._filter(lane), up_to=self._last)
        (answer,) = await demand(self._connection, self._name, request)
        return int(answer.get("purged", 0))

    async def _purge_rest(self, lane: Lane, state: Answer) -> int:
        """What can be received, and what waits behind that; later messages go back."""
        removed = await self._purge_behind(lane, int(state["delivered"]["stream_seq"])) if lane.one_at_a_time else 0
        left = int(state["num_pending"]) + int(state["num_ack_pending"]) - removed
        later: list[Arrival] = []
        while left > 0 and not later:
            arrivals = await self._queue.pulls.take(self._connection, min(left, _MOST), _TURN, lane)
            if not arrivals:
                break
            ours = [arrival for arrival in arrivals if arrival.parts.sequence <= self._last]
            # One lane comes in its order, so there are none of ours behind a later one.
            later = [arrival for arrival in arrivals if arrival.parts.sequence > self._last]
            await confirmed(self._connection, [(each.parts.consumer, each.receipt, ACK) for each in ours])
            removed, left = removed + len(ours), left - len(ours)
            noted = [arrival.parts.sequence for arrival in ours if arrival.parts.delivered > 1]
            await self._queue.records.erase(self._connection, noted)
        if later:
            await self._queue.give_back(later)
        return removed

    async def _purge_behind(self, lane: Lane, delivered: int) -> int:
        """What waits behind the first message of a partition cannot be received, so it is removed where it lies."""
        removed, sequence = 0, delivered + 1
        while True:
            fields = {"seq": sequence, "next_by_subj": self._filter(lane)}
            (found,) = await ask(self._connection, self._name, [(f"STREAM.MSG.GET.{self._queue.stream}", fields)])
            if "message" not in found or (sequence := int(found["message"]["seq"])) > self._last:
                return removed
            request: Request = (f"STREAM.MSG.DELETE.{self._queue.stream}", {"seq": sequence, "no_erase": True})
            (answer,) = await ask(self._connection, self._name, [request])
            removed += bool(answer.get("success"))
            sequence += 1

    def _filter(self, lane: Lane) -> str:
        return self._names.filter(self._name, lane.tail, ever_ordered=self._queue.plan.ever_ordered)
