"""Suspects: the queue beside a queue, in which a message is while it is handled as a suspect.

SQS counts receives, and nothing can be written beside a message. So a suspect is moved, at its start, to a queue from
which a process takes one message at a time, and only to start it: there SQS's own count is the number of recorded
starts. The queue is made at the first start; every process looks for it from time to time. A message with a key stays
where it is, for its group must not go on without it: there every delivery counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from tasuki.clock import Clock
from tasuki.contracts.driver import Receipt
from tasuki.drivers.sqs.clients import Result
from tasuki.drivers.sqs.declaring import Declaring
from tasuki.drivers.sqs.receiving.polling import Polling
from tasuki.drivers.sqs.receiving.settling import Fate, Settling, is_bound
from tasuki.drivers.sqs.receiving.source import Held, Source
from tasuki.drivers.sqs.sending.envelope import copy
from tasuki.drivers.sqs.sending.publishing import Entry, Publishing
from tasuki.errors import DriverError

_TRIES = 5
"""Requests, of a second each, in which a message that was moved must arrive; else another process has it."""


class Suspects:
    """Starts the suspects of one queue."""

    def __init__(
        self,
        source: Source,
        polling: Polling,
        declaring: Declaring,
        settling: Settling,
        publishing: Publishing,
        clock: Clock,
    ) -> None:
        self._source = source
        self._polling = polling
        self._declaring = declaring
        self._settling = settling
        self._publishing = publishing
        self._clock = clock

    async def start(self, batch: Sequence[Receipt]) -> list[Receipt]:
        """Record the starts; the receipts that are stale, or whose message is redelivered with its record."""
        return [receipt for receipt in batch if not await self._start(receipt)]

    async def _start(self, receipt: Receipt) -> bool:
        source = self._source
        held = source.find(receipt, self._clock.boottime())
        if held is None or held.is_settled:
            return False
        if held.url == source.suspects_url or is_bound(source, held):
            return True
        held.is_moving = True  # its handle is about to change: the keeper must not take it for lost
        try:
            return await self._move(held)
        finally:
            held.is_moving = False

    async def _move(self, held: Held) -> bool:
        """Send it there, delete the original, and take it again; False: another suspect is in our hands now."""
        source = self._source
        if source.suspects_url is None:
            source.suspects_url = await self._declaring.create_suspects(source.spec, source.url)
        target = Source(source.spec, source.suspects_url, is_fifo=False, largest=source.largest)
        written = copy(held.body, held.attributes, held.envelope.again(attempts=held.attempt - 1, suspect=True))
        if not held.is_copied:  # else what came after that has failed before
            results: list[Result] = [None]
            await self._publishing.send(target, [Entry(0, written, {})], results)
            if results[0] is not None:
                raise results[0]
            held.is_copied = True
        fates: dict[Held, Fate] = {}
        await self._settling.delete(source, [held], fates)
        if isinstance(fate := fates[held], DriverError):
            raise fate
        if source.holds_started(self._clock.boottime()):
            source.take(held, self._clock.boottime())
            return False
        return await self._take(held)

    async def _take(self, held: Held) -> bool:
        source = self._source
        for _ in range(_TRIES):
            arrived = await self._polling.ask_suspect(seconds=1)
            if not arrived:
                continue
            found, _ = arrived[0]
            if found.envelope.id == held.envelope.id:
                source.replace(held, found)
                return True
            self._polling.keep(arrived)
            break
        source.take(held, self._clock.boottime())
        return False
