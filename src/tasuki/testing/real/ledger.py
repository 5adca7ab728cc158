"""Ledger: which messages a test has at its brokers, as far as this process has published and received them; no I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from tasuki.clock import Clock
from tasuki.contracts.driver import Ack, Move, Nack, Outgoing, Receipt, Received, Settlement, Transfer
from tasuki.drivers.memory.slots import Slot
from tasuki.message import DEAD_LETTER_REASON, Message, is_request
from tasuki.testing.twin.reading.journal import Journal, Outcome

Place = tuple[str, str]
"""Id of a driver, and the name of a queue there."""


class Ledger:
    """Hears what the drivers have done, and tells the journal; its times are monotonic times of the clock."""

    def __init__(self, clock: Clock, journal: Journal) -> None:
        self._clock = clock
        self._journal = journal
        self._slots: dict[Place, dict[str, Slot]] = {}
        self._held: dict[Place, dict[Receipt, str]] = {}
        self._dead: set[str] = set()
        """Ids of dead letters whose originals are not acked yet."""

    def stored(self, place: Place, messages: Iterable[Outgoing], replaced: Iterable[str] = ()) -> None:
        """The broker has these messages now, and no longer the ``replaced`` ones."""
        for id in replaced:
            self._slots.get(place, {}).pop(id, None)
        for message in messages:
            self._put(place, message, self._clock.monotonic() + message.delay if message.delay else 0.0)
            if DEAD_LETTER_REASON in message.headers:
                self._dead.add(message.id)
            if is_request(message):
                self._journal.requests.append(message.id)
        self._journal.tell()

    def _put(self, place: Place, message: Message, due: float) -> None:
        slots = self._slots.setdefault(place, {})
        slots[message.id] = Slot(message.id, message.body, dict(message.headers), len(slots), 0.0, due=due)

    def received(self, place: Place, messages: Sequence[Received]) -> None:
        """A consumer holds these messages, which may be older than the test."""
        for message in messages:
            if message.id not in self._slots.get(place, {}):
                self._put(place, message, 0.0)
            self._slots[place][message.id].failures = message.attempt - 1
            held = self._held.setdefault(place, {})
            for receipt in [old for old, id in held.items() if id == message.id]:  # its lease was lost
                del held[receipt]
            held[message.receipt] = message.id
        self._journal.steps += len(messages)
        if messages:
            self._journal.tell()

    def settled(self, place: Place, batch: Sequence[Settlement], stale: Collection[Receipt]) -> None:
        """The broker has taken these settlements; where one is stale, the message comes again."""
        for settlement in batch:
            id = self._held.get(place, {}).pop(settlement.receipt, None)
            if id is not None and settlement.receipt not in stale:
                self._journal.settled.append((*place, self._end(place, id, settlement)))
        self._journal.tell()

    def _end(self, place: Place, id: str, settlement: Settlement) -> Outcome:
        if isinstance(settlement, Ack):
            self._slots[place].pop(id, None)
            is_dead, self._dead = id in self._dead, self._dead - {id}
            return "dead_letter" if is_dead else "ack"
        slot = self._slots[place][id]
        slot.due = self._clock.monotonic() + settlement.delay if settlement.delay else 0.0
        if isinstance(settlement, Nack):
            slot.failures += 1
            slot.failure = (settlement.error, self._clock.time())
            return "nack"
        return "snooze" if settlement.delay else "release"

    def moved(self, place: Place, moves: Iterable[Move]) -> None:
        """The broker has acked these deliveries, and stored what follows from them."""
        for move in moves:
            self.stored((place[0], move.to), move.messages)
            self.settled(place, [Ack(move.receipt)], ())

    def transferred(self, place: Place, transfers: Iterable[Transfer]) -> None:
        """The broker has taken these messages out of the queue, and stored others for them."""
        for transfer in transfers:
            self._slots.get(place, {}).pop(transfer.id, None)
            self.stored((place[0], transfer.to), [transfer.message])

    def waiting(self, place: Place) -> list[Slot]:
        """The messages that no consumer holds: those that are due, then by their times."""
        held = set(self._held.get(place, {}).values())
        now = self._clock.monotonic()
        slots = [slot for slot in self._slots.get(place, {}).values() if slot.id not in held]
        return sorted(slots, key=lambda slot: max(slot.due - now, 0.0))

    def held(self, place: Place) -> list[str]:
        """Ids of the messages that a consumer holds."""
        return list(self._held.get(place, {}).values())

    def forget(self, place: Place) -> None:
        """The broker has no message there: whatever was known is gone, purged or expired."""
        self._slots.pop(place, None)
        self._held.pop(place, None)
