"""Settling: how deliveries end, and where what was not used goes.

Nothing is acked before its copy, if it needs one, is confirmed: a crash in between makes two of one, never none.
"""

from __future__ import annotations

from collections.abc import Sequence

from tasuki.contracts.driver import Ack, Nack, QueueSpec, Receipt, Settlement
from tasuki.drivers.amqp import envelope
from tasuki.drivers.amqp.consumption import Consumption
from tasuki.drivers.amqp.faults import Errors
from tasuki.drivers.amqp.inbox import Delivery
from tasuki.drivers.amqp.limits import LONGEST_DELAY
from tasuki.drivers.amqp.publisher import Parcel
from tasuki.drivers.amqp.publishing import Publishing
from tasuki.drivers.amqp.topology import is_quorum, return_lane
from tasuki.errors import BrokerUnavailableError

Taken = Sequence[tuple[Settlement, Delivery]]


class Settling:
    """Carries out settlements of the consumptions of one driver."""

    def __init__(self, publishing: Publishing, errors: Errors) -> None:
        self._publishing = publishing
        self._errors = errors

    async def settle(self, spec: QueueSpec, consumption: Consumption, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """The stale receipts; the rest is done. If it fails, what is held is held still."""
        stale: list[Receipt] = []
        taken: list[tuple[Settlement, Delivery]] = []
        for settlement in batch:
            delivery = consumption.take(settlement.receipt)
            if delivery is None:
                stale.append(settlement.receipt)
            else:
                taken.append((settlement, delivery))
        is_done = False
        try:
            await self._carry_out(spec, consumption, taken)
            is_done = True
        finally:
            if not is_done and consumption.ended is None:
                consumption.held.update({settlement.receipt: delivery for settlement, delivery in taken})
        return stale

    async def _carry_out(self, spec: QueueSpec, consumption: Consumption, taken: Taken) -> None:
        acked: list[int] = []
        requeued: list[int] = []
        later: list[tuple[Delivery, float]] = []
        freed: list[Delivery] = []
        resting: list[tuple[Delivery, float]] = []
        for settlement, delivery in taken:
            if type(settlement) is Ack:
                acked.append(delivery.tag)
            elif type(settlement) is not Nack:
                freed.append(delivery)
            elif consumption.keeps(delivery):
                resting.append((delivery, settlement.delay))
            elif settlement.delay > 0 or not is_quorum(spec):  # a classic queue does not count what comes back to it
                later.append((delivery, settlement.delay))
            else:
                requeued.append(delivery.tag)
        if later:
            await self._put_off(spec, later)
            acked += [delivery.tag for delivery, _ in later]
        if acked or requeued:
            with self._errors.translating(spec.name):
                await consumption.settle(acked, requeued)
        # Last, when nothing can fail any more: a delivery is either still held or waits here.
        for delivery, delay in resting:
            consumption.rest(delivery, delay)  # at its place: what is behind it must not pass it
        for delivery in freed:
            consumption.put_back(delivery)

    async def _put_off(self, spec: QueueSpec, moves: Sequence[tuple[Delivery, float]]) -> None:
        """Put copies that count this attempt on the ladder; raises unless all are safe."""
        left = [(delivery, min(delay, LONGEST_DELAY)) for delivery, delay in moves if not delivery.is_moved]
        parcels = [_copy(spec, delivery, delivery.received.attempt, delay) for delivery, delay in left]
        fates = await self._publishing.send(spec, parcels) if parcels else []
        for (delivery, _), fate in zip(left, fates, strict=True):
            delivery.is_moved = fate == "stored"
        for fate in fates:
            if error := self._errors.of_fate(fate, spec.name):
                problem = f"a message could not be put off: {error}"
                raise self._errors.make(BrokerUnavailableError, spec.name, problem) from error

    async def hand_back(self, spec: QueueSpec, consumption: Consumption) -> None:
        """End the consumers, and give what lies unused to whoever asks next: not counted, and first in line.

        Raises ClosedError, LateError, BlockedError; then it lies here as before.
        """
        unused = await consumption.stop()
        is_done = False
        try:
            if unused:
                await self._hand_back(spec, consumption, unused)
            is_done = True
        finally:
            if not is_done and consumption.ended is None:
                for delivery in unused:
                    consumption.put_back(delivery)

    async def _hand_back(self, spec: QueueSpec, consumption: Consumption, unused: Sequence[Delivery]) -> None:
        if is_quorum(spec):
            left = [delivery for delivery in unused if not delivery.is_moved]
            parcels = [_copy(spec, delivery, delivery.received.attempt - 1, 0.0) for delivery in left]
            fates = await self._publishing.send_plainly(parcels) if parcels else []
            for delivery, fate in zip(left, fates, strict=True):
                delivery.is_moved = fate == "stored"
        safe = [delivery.tag for delivery in unused if delivery.is_moved]
        rest = [delivery.tag for delivery in unused if not delivery.is_moved]
        await consumption.settle(safe, rest)


def _copy(spec: QueueSpec, delivery: Delivery, attempts: int, delay: float) -> Parcel:
    received = delivery.received
    properties = envelope.copied(delivery.properties, received.id, attempts)
    return Parcel(return_lane(spec), envelope.short_id(received.id), properties, received.body, delay)
