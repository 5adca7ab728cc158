"""Publishing: which message may be sent and as what, and the result of each."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

from tasuki.contracts.driver import Outgoing, QueueSpec
from tasuki.drivers.amqp.faults import ClosedError, Errors, Fate, LateError
from tasuki.drivers.amqp.limits import LONGEST_DELAY, MAX_MESSAGE_BYTES
from tasuki.drivers.amqp.protocol import envelope
from tasuki.drivers.amqp.publishing.publisher import BlockedError, Parcel, Publisher, UnsentError
from tasuki.drivers.amqp.topology.queue_arguments import is_quorum, partition_lane, priority_lane, return_lane
from tasuki.drivers.toolkit.results import Results
from tasuki.errors import BrokerUnavailableError, DriverError, MessageTooLargeError, ThrottledError, UnsupportedError

_ON_THE_WAY = 1.0
"""Seconds that a message may need from its last delay queue to its queue."""
_FINEST = 0.125
"""Seconds of the narrowest slot."""
_SLOTS = 64
"""Slots of one width that the delays with it reach over."""


class DelayedCount:
    """Counts messages by slots of time, wider ones for longer delays: a message counts up to 1/32 of its delay longer.

    So a million messages that are due within a day take some hundred numbers. Times are seconds of one clock.
    """

    def __init__(self) -> None:
        self._due: dict[float, int] = {}
        """How many messages leave the count at each time."""

    def add(self, now: float, delay: float) -> None:
        """Count a message that is delayed now."""
        width = max(2.0 ** math.ceil(math.log2(delay / _SLOTS)), _FINEST)
        due = math.ceil((now + delay + _ON_THE_WAY) / width) * width
        if due in self._due:
            self._due[due] += 1
        else:
            self._forget(now)
            self._due[due] = 1

    def after(self, now: float) -> dict[float, int]:
        """When they end that have not ended by this time, and how many do then; from any thread."""
        return {due: number for due, number in self._due.copy().items() if due >= now}

    def _forget(self, now: float) -> None:
        for due in [due for due in self._due if due < now]:
            del self._due[due]


class Publishing:
    """The publishing side of one driver; remembers which messages it has delayed, to count them."""

    def __init__(self, publisher: Publisher, errors: Errors, expiration: bytes | None) -> None:
        self.publisher = publisher
        self._errors = errors
        self._expiration = expiration
        self._delayed: dict[str, DelayedCount] = {}

    async def publish(self, spec: QueueSpec, batch: Sequence[Outgoing]) -> Results:
        """One result a message."""
        results = [self._refusal(spec, message) for message in batch]
        sound = [index for index, refusal in enumerate(results) if refusal is None]
        if sound:
            fates = await self.send(spec, [self._parcel(spec, batch[index]) for index in sound])
            for index, fate in zip(sound, fates, strict=True):
                results[index] = self._errors.of_fate(fate, spec.name, self.publisher.frame_max)
        return results

    async def send(self, spec: QueueSpec, parcels: Sequence[Parcel]) -> list[Fate]:
        """What became of each. Raises DriverError."""
        queue = spec.name
        try:
            fates = await self.publisher.publish(parcels)
        except BlockedError as error:
            problem = f"the broker takes no messages now ({error}); it has to free memory or disk"
            raise self._errors.make(ThrottledError, queue, problem) from error
        except (UnsentError, LateError) as error:
            raise self._errors.of(error, queue) from error
        except ClosedError as error:
            if error.is_for_size and len(parcels) == 1:
                raise self._errors.make(MessageTooLargeError, queue, str(error)) from error
            raise self._errors.make(BrokerUnavailableError, queue, str(error), "unknown") from error
        self._remember(queue, parcels, fates)
        return fates

    def delays(self, queue: str) -> Mapping[float, int]:
        """When delays of a queue's messages that this process has delayed end; from any thread."""
        count = self._delayed.get(queue)
        return count.after(time.monotonic()) if count is not None else {}

    def forget(self, queue: str) -> None:
        """None of its messages is delayed any more; the next one makes sure of its way again."""
        self._delayed.pop(queue, None)
        self.publisher.forget_target(queue)

    def _remember(self, queue: str, parcels: Sequence[Parcel], fates: Sequence[Fate]) -> None:
        now = time.monotonic()
        for parcel, fate in zip(parcels, fates, strict=True):
            if parcel.delay > 0 and fate == "stored":
                self._delayed.setdefault(queue, DelayedCount()).add(now, parcel.delay)

    def _parcel(self, spec: QueueSpec, message: Outgoing) -> Parcel:
        if spec.ordering == "key" and message.key is not None:
            lane, expiration = partition_lane(spec, message.key), self._expiration
        elif message.delay > 0:
            lane, expiration = return_lane(spec), None  # it would end the delay early
        else:
            lane = priority_lane(spec.name, message.priority) if is_quorum(spec) else spec.name
            expiration = self._expiration
        properties = envelope.encode(message, 0, expiration)
        return Parcel(lane, envelope.short_id(message.id), properties, message.body, message.delay)

    def _refusal(self, spec: QueueSpec, message: Outgoing) -> DriverError | None:
        """Why a message is not even sent."""
        kind: type[DriverError] = UnsupportedError
        if len(message.body) > MAX_MESSAGE_BYTES:
            kind, why = MessageTooLargeError, f"has {len(message.body)} bytes; send at most {MAX_MESSAGE_BYTES}"
        elif message.priority > 0 and not spec.priorities:
            why = "has a priority, but the queue was declared without priorities; add `requires: [priority]` to it"
        elif spec.ordering == "key" and message.key is not None and (message.delay > 0 or message.priority > 0):
            why = "has a key and a delay or a priority, which would break the order of the key; omit them"
        elif message.delay > LONGEST_DELAY:
            why = f"has a delay of {message.delay:.0f} s; the longest delay is {LONGEST_DELAY:.0f} s"
        else:
            return None
        return self._errors.make(kind, spec.name, f"message {message.id!r} {why}")
