"""Transferring: letters go back in one step each, and none is held; a kill at any time leaves each in one queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from math import inf

from tasuki.clock import Clock
from tasuki.contracts.driver import Outgoing, Transfer, place_of
from tasuki.contracts.observer import Observer
from tasuki.dead.counting import counted_at
from tasuki.dead.held import Pace
from tasuki.dead.moving.sorting import Sorter
from tasuki.dead.walk import Search, Walk
from tasuki.errors import DriverError, MessageNotFoundError, QueueFullError
from tasuki.message import TRACE, TRACEPARENT, Message
from tasuki.observe.trace import Headers
from tasuki.queues.dead.attempts import round_of
from tasuki.queues.observing import tell
from tasuki.queues.queue import PUBLISH_TIMEOUT, Queue

Form = Callable[[Message, float], Outgoing]
"""The message to send for a letter at a time, in Unix seconds."""
BATCH = 200
"""Most letters of one step."""
_FULL_WAIT = 0.05
"""Seconds until a full queue is tried again."""


def can_transfer(source: Queue, target: Queue) -> bool:
    """Whether letters get from one queue to the other in one step; a look-up."""
    driver = source.driver
    return target.driver is driver and driver.can_transfer(source.spec.name, target.spec.name)


def after_letter(letter: Message) -> Headers:
    """The span that put a dead letter into its queue; empty: none was recorded."""
    return {TRACEPARENT: letter.headers[TRACE]} if TRACE in letter.headers else {}


class Transferring:
    """Moves the letters of ``source`` whose targets can be reached in one step.

    ``is_elsewhere``: whether a chosen letter stayed, as its target cannot be.
    """

    def __init__(
        self, source: Queue, sorter: Sorter, pace: Pace, clock: Clock, observers: Iterable[Observer], form: Form
    ) -> None:
        self._source, self._sorter, self._pace, self._clock, self._form = source, sorter, pace, clock, form
        self._told = tell(observers, "on_publish")
        self._walk = Walk(source.driver, source.spec.name)
        self._moved: dict[str, set[int]] = {}
        """Of the letters of earlier pages the ids, and how many times each had been redriven."""
        self._latest: list[Message] = []
        """The letters of this page that were moved."""
        self._is_bounded = True
        """Whether no more letters are looked at than were there when it began."""
        self.moved = 0
        self.is_elsewhere = False
        sorter.takes = self._reaches

    async def run(self, limit: int | None, progress: Callable[[int], None] | None) -> None:
        """Move up to ``limit`` of the letters that are there now. Raises DriverError: the first refusal."""
        most = inf if limit is None else limit
        if most <= 0:
            return
        async for page in self._pages():
            for letter in self._latest:
                self._moved.setdefault(letter.id, set()).add(round_of(letter))
            self._latest.clear()
            chunk: list[tuple[Message, Queue]] = []
            for letter in page:
                if (queue := self._target(letter)) is None:
                    self._walk.stays(letter)
                    continue
                chunk.append((letter, queue))
                if len(chunk) >= min(self._pace.most(BATCH), most - self.moved):
                    await self._send(chunk, progress)
                    chunk = []
                    if self.moved >= most:
                        return
            if chunk:  # before the next page, which begins behind the letters that stay
                await self._send(chunk, progress)

    def _target(self, letter: Message) -> Queue | None:
        return None if self._came_again(letter) else self._sorter.target_of(letter)

    def _came_again(self, letter: Message) -> bool:
        """Whether it may be one that was moved and has failed again meanwhile, not another one of its id."""
        before = self._moved.get(letter.id)
        return before is not None and (not self._is_bounded or round_of(letter) - 1 in before)

    def _reaches(self, queue: Queue) -> bool:
        is_near = can_transfer(self._source, queue)
        self.is_elsewhere = self.is_elsewhere or not is_near
        return is_near

    async def _pages(self) -> AsyncIterator[Sequence[Message]]:
        """The letters that are there now, from the oldest on: the ones of these ids, or all but newer ones."""
        driver, name = self._source.driver, self._source.spec.name
        if self._sorter.names and driver.capabilities.find:
            search = Search(driver, name, self._sorter.names.ids)
            while page := await search.page():
                yield page
            return
        count = await counted_at(driver, name, self._sorter.cause)
        if count is not None:
            self._walk, left = Walk(driver, name, self._sorter.cause), float(count)
        else:
            depth = await driver.depth(name)
            left = inf if depth.is_estimate else depth.waiting
        while left > 0 and not self._sorter.has_all and (page := await self._walk.page()):
            self._is_bounded = left < inf
            yield page[: int(left)] if self._is_bounded else page
            left = inf if self._walk.restarts else left - len(page)

    async def _send(self, chunk: Sequence[tuple[Message, Queue]], progress: Callable[[int], None] | None) -> None:
        """Move letters, as soon as the rate allows it."""
        await self._pace.keep(self.moved, is_last=False)
        refused: DriverError | None = None
        groups: dict[Queue, list[Message]] = {}
        for letter, queue in chunk:
            groups.setdefault(queue, []).append(letter)
        for queue, letters in groups.items():
            for letter, error in zip(letters, await self._transfer(queue, letters), strict=True):
                if error is None:
                    self._latest.append(letter)
                    self.moved += 1
                elif not isinstance(error, MessageNotFoundError):  # else another process has it
                    refused = refused or error
        if progress is not None:
            progress(self.moved)
        if refused is not None:
            raise refused

    async def _transfer(self, queue: Queue, letters: Sequence[Message]) -> list[DriverError | None]:
        messages = [self._form(letter, self._clock.time()) for letter in letters]

        async def carry(sent: Sequence[Outgoing]) -> list[DriverError | None]:
            pairs = zip(letters, sent, strict=True)
            batch = [Transfer(each.id, queue.spec.name, message, place_of(each)) for each, message in pairs]
            return await self._when_there_is_room(queue, batch)

        answers = await queue.forward(messages, carry=carry, after=[after_letter(letter) for letter in letters])
        stored = [message for message, answer in zip(messages, answers, strict=True) if answer is None]
        if stored and self._told is not None:
            self._told(queue.id, stored, [None] * len(stored))
        return answers

    async def _when_there_is_room(self, queue: Queue, batch: Sequence[Transfer]) -> list[DriverError | None]:
        """One answer a transfer; a full queue is waited for as by a publish, as long as it takes some."""
        loop = asyncio.get_running_loop()
        answers: list[DriverError | None] = await self._once(batch)
        until = loop.time() + PUBLISH_TIMEOUT
        while full := [index for index, answer in enumerate(answers) if isinstance(answer, QueueFullError)]:
            if queue.policy.overflow != "block" or loop.time() > until:
                break
            await asyncio.sleep(_FULL_WAIT)
            again = await self._once([batch[index] for index in full])
            for index, answer in zip(full, again, strict=True):
                answers[index] = answer
            if not all(isinstance(answer, QueueFullError) for answer in again):
                until = loop.time() + PUBLISH_TIMEOUT
        return answers

    async def _once(self, batch: Sequence[Transfer]) -> list[DriverError | None]:
        try:
            return list(await self._source.driver.transfer(self._source.spec.name, batch)) or [None] * len(batch)
        except DriverError as error:
            return [error] * len(batch)
