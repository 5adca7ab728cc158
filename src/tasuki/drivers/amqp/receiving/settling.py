"""Settling: how deliveries end, which starts of handlers are recorded, and where unused deliveries go.

Nothing is acked before its copy, if it needs one, is confirmed: a crash in between makes two of one, never none. A nack
does not fail because its copy cannot be stored (the broker is low on memory or disk, or the publisher's connection is
away): the delivery rests here instead, so that no settlement that its caller has given up leaves a message unacked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from tasuki.contracts.driver import Ack, Nack, QueueSpec, Receipt, Release, Settlement
from tasuki.drivers.amqp.faults import ClosedError, Errors, LateError
from tasuki.drivers.amqp.limits import LONGEST_DELAY
from tasuki.drivers.amqp.protocol import envelope
from tasuki.drivers.amqp.publishing.publishing import Parcel, Publishing
from tasuki.drivers.amqp.receiving import records
from tasuki.drivers.amqp.receiving.deliveries import Delivery
from tasuki.drivers.amqp.receiving.subscription import Subscription
from tasuki.drivers.amqp.topology.queue_arguments import is_quorum, return_lane
from tasuki.errors import DriverError
from tasuki.system.tasks import OnFailure

Taken = Sequence[tuple[Settlement, Delivery]]


class PutOff(NamedTuple):
    """A delivery to be shown again after ``delay`` seconds, by a nack, which counts as a failure, or by a release."""

    delivery: Delivery
    delay: float
    counts: bool

    @property
    def failures(self) -> int:
        """The failures so far."""
        return self.delivery.received.attempt - (not self.counts)

    @property
    def is_suspect(self) -> bool:
        """Whether it stays a suspect."""
        return self.delivery.received.suspect and not self.counts

    def copy(self, spec: QueueSpec) -> Parcel:
        """A copy of its message, to be published."""
        received = self.delivery.received
        properties = envelope.copied(self.delivery.properties, received.id, self.failures, suspect=self.is_suspect)
        return Parcel(return_lane(spec), envelope.short_id(received.id), properties, received.body, self.delay)


class Settling:
    """Carries out settlements of the subscriptions of one driver."""

    def __init__(self, publishing: Publishing, errors: Errors) -> None:
        self._publishing = publishing
        self._errors = errors

    async def start(self, subscription: Subscription, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        """Record failures that count unless the deliveries are settled; returns the stale receipts."""
        held = {receipt: subscription.held[receipt] for receipt in batch if receipt in subscription.held}
        fresh = [delivery for delivery in held.values() if not delivery.is_started]
        for delivery in fresh:
            delivery.is_started = True  # first: the broker may have it recorded and not have said so
        with self._errors.translating(subscription.spec.name):
            await _record(subscription, fresh)
        return [receipt for receipt in batch if receipt not in held]

    async def settle(self, subscription: Subscription, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """Settle all but the stale receipts, and return those. If it fails, the deliveries are still held."""
        stale: list[Receipt] = []
        taken: list[tuple[Settlement, Delivery]] = []
        for settlement in batch:
            delivery = subscription.held.take(settlement.receipt)
            if delivery is None:
                stale.append(settlement.receipt)
            else:
                taken.append((settlement, delivery))

        def undo() -> None:
            if subscription.ended is None:
                subscription.held.update({settlement.receipt: delivery for settlement, delivery in taken})

        with OnFailure(undo), subscription.settling([delivery for _, delivery in taken]):
            done = await self._carry_out(subscription, taken)
        await _forget(subscription, done)
        return stale

    async def _carry_out(self, subscription: Subscription, taken: Taken) -> Sequence[Delivery]:
        """Returns those that are no longer at the broker."""
        done, later, freed, resting = _sorted(subscription, taken)
        if resting:
            with suppress(ClosedError, LateError):  # the count then lives as long as this process
                counted = [each.delivery for each in resting if each.counts]
                await _record(subscription, [delivery for delivery in counted if not delivery.is_started])
        if later:
            await self._put_off(subscription.spec, later)
            done += [each.delivery for each in later if each.delivery.is_moved]
            for each in later:
                if not each.delivery.is_moved:
                    each.delivery.is_counted_here = each.counts
                    resting.append(each)
        if done:
            with self._errors.translating(subscription.spec.name):
                await subscription.settle([delivery.tag for delivery in done], ())
        uncounted = [each.delivery for each in resting if not each.counts]
        await self.take_back(subscription, [*freed, *uncounted])
        # Last, when nothing can fail any more: a delivery is either still held or waits here.
        for each in resting:  # at its place: later messages must not pass it
            subscription.rest(each.delivery, each.delay, counts=each.counts)
        for delivery in freed:
            subscription.put_back(delivery)
        return done

    async def _put_off(self, spec: QueueSpec, moves: Sequence[PutOff]) -> None:
        """Publish copies with the failures so far, delayed or at once; ``is_moved`` tells which are safe.

        A broker that is known to take no messages is not asked: it would answer at the deadline only.
        """
        left = [each for each in moves if not each.delivery.is_moved]
        if not left or self._publishing.publisher.blocked:
            return
        with suppress(DriverError):
            fates = await self._publishing.send(spec, [each.copy(spec) for each in left])
            for each, fate in zip(left, fates, strict=True):
                each.delivery.is_moved = fate == "stored"

    async def take_back(self, subscription: Subscription, deliveries: Sequence[Delivery]) -> None:
        """Unrecord starts: of handlers that have not begun after all, or whose process lives; else they count."""
        names = starts_of(subscription, deliveries)
        with suppress(ClosedError, LateError):
            await records.drop(subscription.connection, names)
        for delivery in deliveries:
            delivery.records -= names
            delivery.is_started = False

    async def hand_back(self, subscription: Subscription) -> None:
        """End the consumers, and return unused messages for the next receive: not counted, and first in line.

        Raises ClosedError, LateError, BlockedError; then it lies here as before.
        """
        async with subscription.stopped() as unused:

            def undo() -> None:
                for delivery in unused:
                    subscription.put_back(delivery)

            with OnFailure(undo):
                if unused:
                    await self._hand_back(subscription, unused)

    async def _hand_back(self, subscription: Subscription, unused: Sequence[Delivery]) -> None:
        spec, publisher = subscription.spec, self._publishing.publisher
        if is_quorum(spec) and not publisher.blocked:
            left = [delivery for delivery in unused if not (delivery.is_moved or subscription.must_go_back(delivery))]
            parcels = [PutOff(delivery, 0.0, counts=False).copy(spec) for delivery in left]
            fates = await publisher.publish(parcels) if parcels else []
            for delivery, fate in zip(left, fates, strict=True):
                delivery.is_moved = fate == "stored"
        safe = [delivery for delivery in unused if delivery.is_moved]
        others = [delivery for delivery in unused if not delivery.is_moved]
        back = [delivery.tag for delivery in others if not delivery.is_counted_here]
        await subscription.settle([delivery.tag for delivery in safe], back)
        for delivery in others:
            if delivery.is_counted_here:
                subscription.put_back(delivery)
        await _forget(subscription, safe)


def _sorted(
    subscription: Subscription, taken: Taken
) -> tuple[list[Delivery], list[PutOff], list[Delivery], list[PutOff]]:
    """The acked deliveries, the ones delayed by a copy, the released ones, and the ones that rest at their place."""
    done: list[Delivery] = []
    later: list[PutOff] = []
    freed: list[Delivery] = []
    resting: list[PutOff] = []
    for settlement, delivery in taken:
        if isinstance(settlement, Ack):
            done.append(delivery)
        elif isinstance(settlement, Release) and settlement.delay == 0:
            freed.append(delivery)
        else:
            each = PutOff(delivery, min(settlement.delay, LONGEST_DELAY), isinstance(settlement, Nack))
            (resting if subscription.keeps(delivery) else later).append(each)
    return done, later, freed, resting


async def _record(subscription: Subscription, deliveries: Sequence[Delivery]) -> None:
    """Record one more failure of each. Raises ClosedError or LateError."""
    if not deliveries:
        return
    names = {delivery: _next_record(subscription, delivery) for delivery in deliveries}
    await records.make(subscription.connection, names.values())
    for delivery, name in names.items():
        delivery.records |= {name}


async def _forget(subscription: Subscription, deliveries: Iterable[Delivery]) -> None:
    """Their messages are gone, or their copies carry the counts; records that cannot be deleted expire."""
    names = {name for delivery in deliveries if delivery.records for name in delivery.records}
    if names:
        with suppress(ClosedError, LateError):
            await records.drop(subscription.connection, names)


def starts_of(subscription: Subscription, deliveries: Iterable[Delivery]) -> set[str]:
    """The records of those whose handlers have begun."""
    return {_next_record(subscription, delivery) for delivery in deliveries if delivery.is_started}


def _next_record(subscription: Subscription, delivery: Delivery) -> str:
    return records.name_of(subscription.spec.name, delivery.identity, delivery.received.attempt)
