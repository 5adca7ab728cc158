"""Ending deliveries and keeping their leases.

Ack deletes. SQS's own count of receives cannot tell a failure from the death of a worker that never started the
message, and nothing can be written beside a message. So a nack and a release send the message again, with the failures
so far in its envelope, and then delete the original (a process that dies in between leaves it twice). That would cost a
message with a key its place in its group: there both hide it for their delay, and every delivery counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from tasuki.clock import Clock
from tasuki.contracts.driver import Ack, Nack, Receipt, Release, Settlement
from tasuki.drivers.sqs.clients import Clients, Result, at_once, in_tens, is_stale, results_of
from tasuki.drivers.sqs.envelope import copy
from tasuki.drivers.sqs.limits import LONGEST_DELAY, hideable, is_bound_to, whole
from tasuki.drivers.sqs.publishing import Entry, Publishing, random_id
from tasuki.drivers.sqs.source import Held, Parameters, Source
from tasuki.errors import DriverError

_PAUSE = 0.005
"""Seconds between two checks whether another request about a delivery is over."""
Hide = tuple[Held, float]
"""A delivery, and for how many seconds to hide it."""
Copy = tuple[Held, float, int, bool]
"""A delivery, and of its copy: the delay in seconds, the failures so far, whether it is a suspect."""
STALE = "stale"
Fate = Result | str
"""None: done; ``STALE``; or why not."""


class Settling:
    """Settles deliveries of any queue of the driver."""

    def __init__(self, driver: str, clients: Clients, publishing: Publishing, clock: Clock) -> None:
        self._driver = driver
        self._clients = clients
        self._publishing = publishing
        self._clock = clock

    async def settle(self, source: Source, batch: Sequence[Settlement]) -> list[Receipt]:
        """End deliveries; returns the stale receipts. If a part fails, the others stay settled; raises the error."""
        while any(isinstance(item.receipt, Held) and item.receipt.is_moving for item in batch):  # noqa: ASYNC110
            await asyncio.sleep(_PAUSE)  # its start goes on although its caller was cancelled
        now = self._clock.boottime()
        stale: list[Receipt] = []
        done: list[Held] = []
        work: list[tuple[Held, Settlement]] = []
        for settlement in batch:
            held = source.take(settlement.receipt, now)
            if held is None:
                stale.append(settlement.receipt)
            elif held.is_settled:
                done.append(held)
            else:
                work.append((held, settlement))
        if not work:
            if stale:
                await self._reach(source)
            return stale
        fates = await self._carry_out(source, work)
        errors = [fate for fate in fates.values() if isinstance(fate, DriverError)]
        if errors:
            self._remember(source, done, fates)
            raise errors[0]
        return stale + [held for held, fate in fates.items() if fate == STALE]

    async def extend(self, source: Source, batch: Sequence[Receipt], lease: float) -> list[Receipt]:
        """Set the leases; the stale receipts. Runs on any loop."""
        now = self._clock.boottime()
        hides: list[Hide] = []
        stale: list[Receipt] = []
        for receipt in batch:
            held = source.find(receipt, now)
            if held is not None and held.is_moving:
                continue
            if held is None or held.is_settled or not hideable(lease, now - held.received_at):
                stale.append(receipt)
            else:
                held.is_extending = True
                hides.append((held, lease))
        if not hides:
            await self._reach(source)
            return stale
        fates: dict[Held, Fate] = {}
        try:
            await self._hide(source, hides, fates)
        finally:
            for held, _ in hides:
                held.is_extending = False
        for held, fate in fates.items():
            if fate is None:
                held.lease_until = now + hideable(lease, now - held.received_at)
        for fate in fates.values():
            if isinstance(fate, DriverError):
                raise fate
        return stale + [held for held, fate in fates.items() if fate == STALE]

    async def hand_back(self, source: Source, deliveries: Sequence[Held]) -> None:
        """Release deliveries that no receive has returned."""
        await self._carry_out(source, [(held, _RELEASE) for held in deliveries])

    async def let_go(self, source: Source, deliveries: Sequence[Held]) -> None:
        """Show deliveries again that a receive has returned; they count."""
        await self._hide(source, [(held, 0.0) for held in deliveries], {})

    async def postpone(self, source: Source, deliveries: Sequence[Hide]) -> None:
        """Hide messages that have arrived too early; that they arrived does not count."""
        fates: dict[Held, Fate] = {}
        if source.is_fifo:
            await self._hide(source, deliveries, fates)
        else:
            await self._send_again(
                source,
                [(held, left, held.envelope.attempts, held.envelope.suspect) for held, left in deliveries],
                fates,
            )

    async def _carry_out(self, source: Source, work: Sequence[tuple[Held, Settlement]]) -> dict[Held, Fate]:
        deletes: list[Held] = []
        hides: list[Hide] = []
        copies: list[Copy] = []
        for held, settlement in work:
            if isinstance(settlement, Ack):
                deletes.append(held)
                continue
            if is_bound(source, held):
                hides.append((held, settlement.delay))
            elif isinstance(settlement, Nack):
                copies.append((held, settlement.delay, held.attempt, False))
            else:
                copies.append((held, settlement.delay, held.attempt - 1, held.is_suspect))
        fates: dict[Held, Fate] = dict.fromkeys(deletes)
        await asyncio.gather(
            self.delete(source, deletes, fates),
            self._hide_unless_extending(source, hides, fates),
            self._send_again(source, copies, fates),
        )
        return fates

    async def _hide_unless_extending(self, source: Source, hides: Sequence[Hide], fates: dict[Held, Fate]) -> None:
        """Wait for a running extension first, which would undo a delay. A taken message gets no new one."""
        while any(held.is_extending for held, _ in hides):  # noqa: ASYNC110 - an event would be of another loop
            await asyncio.sleep(_PAUSE)
        await self._hide(source, hides, fates)

    async def _hide(self, source: Source, hides: Sequence[Hide], fates: dict[Held, Fate]) -> None:
        now = self._clock.boottime()
        seconds = {held: hideable(delay, now - held.received_at) for held, delay in hides}

        def entry(held: Held) -> Parameters:
            return {"ReceiptHandle": held.handle, "VisibilityTimeout": seconds[held]}

        await self._in_batches("change_message_visibility_batch", source, list(seconds), entry, fates)

    async def delete(self, source: Source, deliveries: Sequence[Held], fates: dict[Held, Fate]) -> None:
        """Delete messages, and note the fate of each."""
        await self._in_batches(
            "delete_message_batch", source, deliveries, lambda held: {"ReceiptHandle": held.handle}, fates
        )

    async def _in_batches(
        self,
        operation: str,
        source: Source,
        deliveries: Sequence[Held],
        entry: Callable[[Held], Parameters],
        fates: dict[Held, Fate],
    ) -> None:
        name = source.spec.name

        async def request(part: list[Held]) -> None:
            entries = [{"Id": str(number), **entry(held)} for number, held in enumerate(part)]
            try:
                answer = await self._clients.call(operation, name, QueueUrl=part[0].url, Entries=entries)
            except DriverError as error:
                fates.update(dict.fromkeys(part, error))
                return
            results, codes = results_of(answer, len(part), self._driver, name)
            for held, result, code in zip(part, results, codes, strict=True):
                fates[held] = STALE if is_stale(code) else result

        places = ([held for held in deliveries if held.url == url] for url in {held.url for held in deliveries})
        parts = [part for place in places for part in in_tens(place)]
        if parts:
            await at_once(parts, request)

    async def _send_again(self, source: Source, copies: Sequence[Copy], fates: dict[Held, Fate]) -> None:
        """Send copies, and delete their originals.

        What SQS refuses to store a second time (it has grown too large) is shown again instead, and counts.
        """
        if not copies:
            return
        results: list[Result] = [None] * len(copies)
        entries = [self._copy(source, index, copied) for index, copied in enumerate(copies) if not copied[0].is_copied]
        await self._publishing.send(source, entries, results)
        sent: list[Held] = []
        refused: list[Hide] = []
        for (held, delay, _, _), result in zip(copies, results, strict=True):
            if result is None:
                held.is_copied = True
                sent.append(held)
            elif result.outcome == "rejected" and not result.retryable:
                refused.append((held, delay))
            else:
                fates[held] = result
        await self.delete(source, sent, fates)
        await self._hide(source, refused, fates)

    def _copy(self, source: Source, index: int, copied: Copy) -> Entry:
        held, delay, attempts, suspect = copied
        seconds = whole(delay)
        native = 0 if source.is_fifo else min(seconds, LONGEST_DELAY)
        later = delay if seconds > native else None
        envelope = held.envelope.again(attempts=attempts, suspect=suspect, delay=later)
        written = copy(held.body, held.attributes, envelope)
        if source.is_fifo:
            return Entry(index, written, {"MessageGroupId": held.group or "", "MessageDeduplicationId": random_id()})
        return Entry(index, written, {"DelaySeconds": native})

    def _remember(self, source: Source, done: Sequence[Held], fates: dict[Held, Fate]) -> None:
        for held, fate in [*fates.items(), *((held, None) for held in done)]:
            if fate != STALE:
                held.is_settled = fate is None
                source.put_back(held)

    async def _reach(self, source: Source) -> None:
        """Nothing to ask SQS, but an unavailable broker must show."""
        await self._clients.call(
            "get_queue_attributes", source.spec.name, QueueUrl=source.url, AttributeNames=["QueueArn"]
        )


def is_bound(source: Source, held: Held) -> bool:
    """Whether sending it again would cost it its place."""
    return is_bound_to(source.is_fifo, held.envelope.key, held.group)


_RELEASE = Release("")
