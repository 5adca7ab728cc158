"""Undoing: the letters of a batch that still wait where it has put them go back to their queue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from tasuki.contracts.driver import Outgoing, Transfer
from tasuki.errors import DriverError, MessageNotFoundError
from tasuki.message import BATCH, HeaderValue, Message
from tasuki.workbench.batches.driving import Driving
from tasuki.workbench.batches.places import Places
from tasuki.workbench.batches.rules import steps
from tasuki.workbench.batches.rules.letters import CHUNK, restored
from tasuki.workbench.batches.walk import Walk

MOST = 100_000
"""Waiting messages of a queue that are looked at: the oldest ones."""
_CACHED = 8


class Undoing:
    """Every verb may raise HaltedError and DriverError."""

    def __init__(self, driving: Driving, places: Places) -> None:
        self._driving, self._places = driving, places
        self._chunks: dict[str, int] = {}
        """By the id of each letter, the notes that it is in."""
        self._cache: dict[int, dict[str, dict[str, HeaderValue]]] = {}

    async def run(self) -> None:
        """Bring back what still waits; the batch is undone when this returns."""
        driving = self._driving
        if not driving.batch.is_back:
            await driving.write(steps.turned(driving.batch, await self._still_there()))
        for number in range(driving.batch.chunks):
            await driving.sure()
            self._chunks |= dict.fromkeys(await driving.shelf.notes(driving.batch.id, number), number)
        for name in await self._names():
            async for chunk in self._waiting(name):
                await self._bring(name, chunk)
        await driving.end(steps.finished(driving.batch, await driving.now()))

    async def _still_there(self) -> set[str]:
        """The letters in doubt that were not moved; they are the oldest ones, unless others have come before them."""
        doubt, found = set(self._driving.batch.doubt), set[str]()
        walk, seen = Walk(self._places.driver, self._places.source.spec.name), 0
        while doubt - found and seen < MOST and (page := await walk.page()):
            await self._driving.sure()
            seen += len(page)
            for message in page:
                walk.stays(message)
                if message.headers.get(BATCH) != self._driving.batch.id and message.id in doubt:
                    found.add(message.id)
        return found

    async def _names(self) -> list[str]:
        """The queues that have the letters, by their names at the broker."""
        batch = self._driving.batch
        if batch.act == "delete":
            await self._places.declare_trash()
            return [self._places.trash]
        return [queue.spec.name for queue in self._places.queues(batch.targets) if self._places.reaches(queue)]

    async def _waiting(self, name: str) -> AsyncIterator[list[Message]]:
        walk, seen = Walk(self._places.driver, name), 0
        while seen < MOST and steps.may_be_elsewhere(self._driving.batch) and (page := await walk.page()):
            await self._driving.sure()
            seen += len(page)
            chunk: list[Message] = []
            for message in page:
                if message.headers.get(BATCH) != self._driving.batch.id or message.id not in self._chunks:
                    walk.stays(message)
                    continue
                chunk.append(message)
                if len(chunk) == CHUNK:
                    yield chunk
                    chunk = []
            if chunk:
                yield chunk

    async def _bring(self, name: str, chunk: Sequence[Message]) -> None:
        driving, source = self._driving, self._places.source
        ids = [message.id for message in chunk]
        again = steps.again_of(driving.batch, ids)
        back = [await self._restored(message) for message in chunk]
        await driving.announce(steps.about(driving.batch, ids))
        await driving.sure()

        async def carry(messages: Sequence[Outgoing]) -> list[DriverError | None]:
            batch = [Transfer(each.id, source.spec.name, each) for each in messages]
            return list(await self._places.driver.transfer(name, batch) or [None] * len(batch))

        answers = await self._places.put(source, back, carry=carry)
        undone, trouble = 0, None
        for id, answer in zip(ids, answers, strict=True):
            if answer is None or (isinstance(answer, MessageNotFoundError) and id in again):
                undone += 1
            elif not isinstance(answer, MessageNotFoundError):
                trouble = answer
        await driving.write(steps.settled(driving.batch, undone, 0, 0))
        if trouble is not None:
            raise trouble

    async def _restored(self, message: Message) -> Outgoing:
        batch, chunk = self._driving.batch, self._chunks[message.id]
        if chunk not in self._cache:
            if len(self._cache) >= _CACHED:
                del self._cache[next(iter(self._cache))]
            self._cache[chunk] = await self._driving.shelf.notes(batch.id, chunk)
        return restored(message, batch.act, self._cache[chunk].get(message.id, {}))
