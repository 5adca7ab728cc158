"""Contents: counts, shows and purges the messages of a queue without delivering them.

A purge removes the messages that were stored and not held when it began. The server can remove all messages of a lane
up to a number, held ones too; so the purge uses that only where no message of the lane is held. In other lanes it
receives the messages as a worker does, and acks them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from tasuki.clock import Clock
from tasuki.contracts.driver import Depth
from tasuki.drivers.nats.envelope import unpack
from tasuki.drivers.nats.protocol.api import Answer, Request, ask, data_of, demand, erasing, removing, seconds_of
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.names import Lane, Names
from tasuki.drivers.nats.queues.queues import OpenQueue
from tasuki.drivers.nats.receiving.deliveries import Arrival, read
from tasuki.drivers.nats.receiving.settle_state import ACK, confirmed
from tasuki.drivers.nats.records.receivers import Receivers
from tasuki.drivers.nats.records.side_records import LastError, hidden_among
from tasuki.drivers.toolkit.results import shown
from tasuki.message import Message


class Stored(NamedTuple):
    """A message as it lies in the stream."""

    sequence: int
    data: bytes
    time: str


class Inspector:
    """Looks into one queue over one connection."""

    def __init__(
        self, queue: OpenQueue, names: Names, connection: Connection, clock: Clock, receivers: Receivers
    ) -> None:
        self._queue = queue
        self._name = queue.spec.name
        self._names = names
        self._connection = connection
        self._clock = clock
        self._receivers = receivers

    async def depth(self) -> Depth:
        """Count; the table of the package says which numbers are exact."""
        lanes = self._queue.plan.lanes()
        stream, *consumers = await demand(
            self._connection,
            self._name,
            (f"STREAM.INFO.{self._queue.stream}", {}),
            *map(self._consumer, lanes),
        )
        hidden = await self._queue.records.hidden(self._connection, self._clock.time())
        elsewhere = await self._receivers.are_elsewhere(self._connection, self._name)
        total = int(stream["state"]["messages"])
        pending = sum(int(info["num_ack_pending"]) for info in consumers)
        delayed = min(len(hidden), total)
        reached = {lane.name: int(info["delivered"]["stream_seq"]) for lane, info in zip(lanes, consumers, strict=True)}
        put_off = sum(note.sequence <= reached.get(note.lane, 0) for note in hidden)
        held = len(self._queue.table.living(self._clock.monotonic()))
        # If no other process receives, what we do not hold ourselves is on its way back, not held.
        in_flight = max(pending - put_off, 0) if elsewhere else min(held, pending)
        age = await self._oldest_age(lanes, consumers, {note.sequence for note in hidden}, stream["ts"])
        return Depth(max(total - in_flight - delayed, 0), in_flight, delayed, age)

    async def peek(self, limit: int, after: int) -> list[Message]:
        """Ready messages in their order, then hidden ones by their time."""
        notes = await self._queue.records.notes(self._connection)
        hidden = hidden_among(notes, self._clock.time())
        wanted = limit + after
        found = await self._ready(wanted, {note.sequence for note in hidden})
        if len(found) < wanted:
            found += await self._read([note.sequence for note in hidden[: wanted - len(found)]])
        shown = found[after:wanted]
        noted = [stored.sequence for stored in shown if stored.sequence in notes]
        errors = await self._errors(noted) if noted else {}
        return [self._shown(stored, errors.get(stored.sequence)) for stored in shown]

    async def _errors(self, sequences: Sequence[int]) -> dict[int, LastError | None]:
        notes = await self._queue.records.read(self._connection, sequences)
        return {note.sequence: note.last_error for note in notes if note is not None}

    async def _oldest_age(
        self, lanes: Sequence[Lane], consumers: Sequence[Answer], hidden: set[int], now: str
    ) -> float | None:
        """Age of the oldest message that was never delivered and is not hidden."""
        waiting = [
            (lane, int(info["delivered"]["stream_seq"]) + 1)
            for lane, info in zip(lanes, consumers, strict=True)
            if int(info["num_pending"])
        ]
        firsts = await asyncio.gather(*(self._next_shown(lane, sequence, hidden) for lane, sequence in waiting))
        ages = [seconds_of(now) - seconds_of(stored.time) for stored in firsts if stored is not None]
        return max(*ages, 0.0) if ages else None

    async def _next_shown(self, lane: Lane, sequence: int, hidden: set[int]) -> Stored | None:
        while (stored := await self._next(lane, _beyond(hidden, sequence))) is not None and stored.sequence in hidden:
            sequence = stored.sequence + 1
        return stored

    async def _ready(self, wanted: int, hidden: set[int]) -> list[Stored]:
        """The first ``wanted`` messages that are neither hidden nor held, as far as is known here."""
        held = {each.sequence for each in self._queue.table.living(self._clock.monotonic())}
        elsewhere = await self._receivers.are_elsewhere(self._connection, self._name)
        found: list[Stored] = []
        by_rank: dict[int, list[Lane]] = {}
        for lane in self._queue.plan.lanes():
            by_rank.setdefault(lane.rank, []).append(lane)
        for rank in sorted(by_rank):
            part: list[Stored] = []
            for lane in by_rank[rank]:
                part += await self._ready_in(lane, wanted - len(found), hidden | held, is_alone=not elsewhere)
            found += sorted(part)[: wanted - len(found)]
        return found

    async def _ready_in(self, lane: Lane, wanted: int, without: set[int], *, is_alone: bool) -> list[Stored]:
        found: list[Stored] = []
        sequence = 1
        if not is_alone:  # another process holds the delivered messages, or soon will
            (info,) = await demand(self._connection, self._name, self._consumer(lane))
            sequence = int(info["delivered"]["stream_seq"]) + 1
        while len(found) < wanted and (stored := await self._next(lane, _beyond(without, sequence))) is not None:
            if stored.sequence not in without:
                found.append(stored)
            sequence = stored.sequence + 1
        return found

    async def _next(self, lane: Lane, sequence: int) -> Stored | None:
        subject = self._names.filter(self._name, lane.tail, ever_ordered=self._queue.plan.ever_ordered)
        fields = {"seq": sequence, "next_by_subj": subject}
        (answer,) = await ask(self._connection, self._name, [(f"STREAM.MSG.GET.{self._queue.stream}", fields)])
        return _stored(answer)

    async def _read(self, sequences: Sequence[int]) -> list[Stored]:
        requests: list[Request] = [(f"STREAM.MSG.GET.{self._queue.stream}", {"seq": number}) for number in sequences]
        answers = await ask(self._connection, self._name, requests) if requests else []
        return [stored for stored in map(_stored, answers) if stored is not None]

    def _consumer(self, lane: Lane) -> Request:
        return f"CONSUMER.INFO.{self._queue.stream}.{lane.name}", {}

    def _shown(self, stored: Stored, error: LastError | None) -> Message:
        head, body = unpack(stored.data, f"{self._queue.stream}-{stored.sequence}")
        if error is None:
            return Message(head.id, body, head.headers)
        return shown(head.id, body, head.headers, "", error.text, error.at)


def _beyond(without: set[int], sequence: int) -> int:
    """The first number from ``sequence`` on that is not among these: no request for each of a run of hidden ones."""
    while sequence in without:
        sequence += 1
    return sequence


def _stored(answer: Answer) -> Stored | None:
    message = answer.get("message")
    if not message:
        return None
    return Stored(int(message["seq"]), data_of(message), str(message["time"]))


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
        await self._queue.records.erase(self._connection, (), sequences)
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
            await self._queue.records.erase(self._connection, (), noted)
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
            (answer,) = await ask(self._connection, self._name, [removing(self._queue.stream, sequence)])
            removed += bool(answer.get("success"))
            sequence += 1

    def _filter(self, lane: Lane) -> str:
        return self._names.filter(self._name, lane.tail, ever_ordered=self._queue.plan.ever_ordered)
