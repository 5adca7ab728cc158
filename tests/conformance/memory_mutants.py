"""Mutants of the memory driver, from within."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from tasuki.contracts.driver import (
    Ack,
    Answers,
    Depth,
    Nack,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Release,
    Settlement,
)
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.toolkit.wait_list import WaitList
from tasuki.errors import DriverError


class NackIsLostWhenFull(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        most = self._queue(queue).spec.max_length
        if most is not None and self._queues[queue].total >= most:
            batch = [Ack(item.receipt) if isinstance(item, Nack) else item for item in batch]
        return await super().settle(queue, batch)


class ReleaseIsLostWhenFull(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        most = self._queue(queue).spec.max_length
        if most is not None and self._queues[queue].total >= most:
            batch = [Ack(item.receipt) if isinstance(item, Release) else item for item in batch]
        return await super().settle(queue, batch)


class DelayedComesEarly(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        return await super().publish(queue, [msgspec.structs.replace(item, delay=item.delay * 0.8) for item in batch])


class ReleaseGoesToTheTail(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        for item in batch:
            if isinstance(item, Release) and item.receipt in self._queue(queue).held:
                self._queues[queue].held[item.receipt].number = next(self._numbers)
        return await super().settle(queue, batch)


class AnyReceiptEndsTheDelivery(MemoryDriver):
    """Redis' XACK does not look at the owner: an old receipt removes what another receiver holds."""

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        if await super().settle(queue, batch) and self._queues[queue].held:
            self._queues[queue].held.popitem()
        return ()


class NobodyIsWoken(MemoryDriver):
    async def _wait(self, *arguments: Any) -> list[Received]:
        await asyncio.get_running_loop().create_future()
        return []


class WakeUpIsLostWithItsReceiver(MemoryDriver):
    async def _wait(self, source: Any, limit: int, wait: float) -> list[Received]:
        source.can_give = lambda now: False
        return await super()._wait(source, limit, wait)


class CloseDoesNotWake(MemoryDriver):
    async def close(self) -> None:
        waiters = [(queue, queue.waiters) for queue in self._queues.values()]
        for queue, _ in waiters:
            queue.waiters = WaitList()
        await super().close()
        for queue, waiting in waiters:
            queue.waiters = waiting


class CloseKeepsHeld(MemoryDriver):
    async def close(self) -> None:
        held = [(queue, queue.held) for queue in self._queues.values()]
        for queue, _ in held:
            queue.held = {}
        await super().close()
        for queue, holding in held:
            queue.held = holding


class CloseStopsAtADeletedQueue(MemoryDriver):
    has_deleted = False

    async def delete(self, queue: str) -> None:
        await super().delete(queue)
        self.has_deleted = True

    async def close(self) -> None:
        held = [(queue, queue.held) for queue in self._queues.values()] if self.has_deleted else []
        for queue, _ in held:
            queue.held = {}
        await super().close()
        for queue, holding in held:
            queue.held = holding


class CloseForgetsQueues(MemoryDriver):
    async def close(self) -> None:
        await super().close()
        for queue in self._queues:
            self._known.forget(queue)


class CloseTwiceFails(MemoryDriver):
    async def close(self) -> None:
        if self._guard.current is None:
            raise DriverError("not open")
        await super().close()


class DeclaringAgainEmpties(MemoryDriver):
    async def declare(self, spec: QueueSpec) -> None:
        self._queues.pop(spec.name, None)
        await super().declare(spec)


class DeclaringAgainChangesNothing(MemoryDriver):
    async def declare(self, spec: QueueSpec) -> None:
        if spec.name not in self._queues:
            await super().declare(spec)


class PublisherIsNotIsolated(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        results = await super().publish(queue, batch)
        for slot, item in zip(reversed(self._queues[queue].ready.plain.fresh), reversed(batch), strict=False):
            slot.headers = item.headers
        return results


class ReceiverIsNotIsolated(MemoryDriver):
    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await super().receive(queue, limit, wait)
        for item in taken:
            item.headers = self._queues[queue].held[item.receipt].headers
        return taken


class UnknownQueueIsAKeyError(MemoryDriver):
    async def depth(self, queue: str) -> Depth:
        self._queues[queue]
        return await super().depth(queue)


class QueuesAreMixed(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        return await super().publish(min(self._queues) if queue in self._queues else queue, batch)


class KeyIsIgnored(MemoryDriver):
    async def declare(self, spec: QueueSpec) -> None:
        await super().declare(replace(spec, ordering="none"))


class FailedKeyIsOvertaken(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        source = self._queue(queue)
        for item in batch:
            slot = source.held.get(item.receipt)
            if isinstance(item, Nack) and item.delay and slot is not None:
                source.leave(slot)
                slot.key = None
        return await super().settle(queue, batch)


class HeldMessagesTakeNoRoom(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        source = self._queue(queue)
        source.total -= len(source.held)
        try:
            return await super().publish(queue, batch)
        finally:
            source.total += len(source.held)


class PurgeTakesHeld(MemoryDriver):
    async def purge(self, queue: str) -> int:
        source = self._queue(queue)
        removed, source.held = await super().purge(queue), {}
        return removed


class PurgeForgetsDelayed(MemoryDriver):
    async def purge(self, queue: str) -> int:
        delayed = self._queue(queue).delayed
        removed = await super().purge(queue)
        self._queue(queue).delayed = delayed
        return removed


class DuplicateStartsTheWindowAnew(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        results = await super().publish(queue, batch)
        known = self._queue(queue).known
        known.update((item.id, self._clock.monotonic()) for item in batch if item.id in known)
        return results


class DuplicateIsAnError(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        before = self._queue(queue).total
        results = await super().publish(queue, batch)
        if any(results) or self._queue(queue).total == before + len(batch):
            return results
        return [DriverError("known") for _ in batch]


class AckForgetsTheId(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        target = self._queue(queue)
        for item in batch:
            if isinstance(item, Ack) and item.receipt in target.held:
                target.known.pop(target.held[item.receipt].id, None)
        return await super().settle(queue, batch)


class NackForgetsTheId(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        target = self._queue(queue)
        for item in batch:
            if isinstance(item, Nack) and item.receipt in target.held:
                target.known.pop(target.held[item.receipt].id, None)
        return await super().settle(queue, batch)


class DuplicatesWithinABatchAreStored(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        target = self._queue(queue)
        known: set[str] = set(target.known)
        seen: set[str] = set()
        twice: list[Outgoing] = []
        for item in batch:
            if item.id in seen:
                twice.append(item)
            elif item.id not in known:
                seen.add(item.id)
        results = await super().publish(queue, batch)
        await super().publish(queue, [msgspec.structs.replace(item, deduplicate=False) for item in twice])
        return results


class RejectedIdIsKnown(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        target = self._queue(queue)
        try:
            return await super().publish(queue, batch)
        finally:
            if target.spec.dedup_window is not None:
                target.known.update((item.id, self._clock.monotonic()) for item in batch)


class IdsOfAllQueuesAreOne(MemoryDriver):
    async def declare(self, spec: QueueSpec) -> None:
        await super().declare(spec)
        self._queues[spec.name].known = self.__dict__.setdefault("shared", {})


class DeletedQueueIsOnlyEmptied(MemoryDriver):
    async def delete(self, queue: str) -> None:
        self._queue(queue).let_go()
        await self.purge(queue)


class DeletedQueueComesBackWithItsMessages(MemoryDriver):
    async def delete(self, queue: str) -> None:
        self.gone = {queue: self._queue(queue)}
        await super().delete(queue)

    async def declare(self, spec: QueueSpec) -> None:
        if spec.name in getattr(self, "gone", {}):
            self._queues[spec.name] = self.gone.pop(spec.name)
        await super().declare(spec)


class DeletingLeavesWaitersWaiting(MemoryDriver):
    async def delete(self, queue: str) -> None:
        self._queue(queue).waiters = WaitList()
        await super().delete(queue)


class ReplacesAHeldMessage(MemoryDriver):
    async def declare(self, spec: QueueSpec) -> None:
        await super().declare(spec)
        self._queue(spec.name).uniques.is_waiting = lambda unique: True  # type: ignore[method-assign]


class PurgeLeavesTheKeys(MemoryDriver):
    async def purge(self, queue: str) -> int:
        self._queue(queue).uniques.keep_only = lambda left: None  # type: ignore[method-assign]
        return await super().purge(queue)


class AReplacedMessageKeepsItsFailures(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        before = {slot.number: slot.failures for slot in self._queue(queue).peek()}
        answers = await super().publish(queue, batch)
        for slot in self._queue(queue).peek():
            slot.failures = before.get(slot.number, 0)
        return answers
