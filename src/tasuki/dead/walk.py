"""Page through the waiting messages of a queue, from either end, while some leave it; or find messages by ids."""

from __future__ import annotations

from collections.abc import Sequence

from tasuki.clock import Clock
from tasuki.contracts.driver import Driver, place_of
from tasuki.dead.counting import Peek
from tasuki.dead.peek_by_receive import Held
from tasuki.errors import QueueNotFoundError
from tasuki.message import Message
from tasuki.queues.dead.letter import LetterNames
from tasuki.queues.queue import Queue

FIRST, _MOST = 20, 5000
"""Messages of the first page, and of the largest one: to reach a page takes a broker longer the further it is, but
small messages may be followed by large ones."""

_SEARCHED, _MOST_SEARCHED = 100, 1000
"""Ids of the first search, and of the largest one."""

_BYTES, _BYTES_SEARCHED = 8 * 2**20, 64 * 2**20
"""Of the messages of a page, and of a search, which costs the same for many, if they are as large as the last ones."""

_SAMPLES = 100
"""Messages of which the headers are measured; their bodies are of all."""

_RESTARTS = 20
"""After this many of them the walk no longer cares what others take."""


class Walk:
    """Pages of one queue. Messages that leave it are seen once, and those that stay too, unless others take some.

    ``cause``: of the messages of this cause alone, in the order in which they were stored; empty: of all.
    """

    def __init__(self, driver: Driver, name: str, cause: str = "") -> None:
        self._driver, self._name, self._cause = driver, name, cause
        self._size = FIRST
        self._position = 0
        self._last = ("", "")
        """Id and place of the message that stays before the next page; an empty id: there is none."""
        self.restarts = 0
        """How often it began again, as messages before its position have been taken by others."""

    def stays(self, message: Message) -> None:
        """A message of the last page stays in the queue."""
        self._position += 1
        self._last = message.id, place_of(message)

    async def page(self) -> Sequence[Message]:
        """The next messages; none: this is the end. Raises DriverError."""
        overlap = 1 if self._last[0] else 0
        found = await self._peek(self._size + overlap, self._position - overlap)
        if overlap and self.restarts < _RESTARTS and (not found or not self._is_last(found[0])):
            self.restarts += 1
            self._position, self._last = 0, ("", "")
            return await self.page()
        found = found[overlap:]
        self._size = min(_MOST, 4 * self._size, fitting(found))
        return found

    def _is_last(self, message: Message) -> bool:
        return (message.id, place_of(message)) == self._last

    async def _peek(self, limit: int, after: int) -> Sequence[Message]:
        if self._cause:
            return await self._driver.peek_cause(self._name, self._cause, limit, after)
        return await self._driver.peek(self._name, limit, after)


class Backwards:
    """Pages of waiting messages from number ``end`` back to number ``lowest``; each has its oldest message first.

    A message that others take meanwhile shifts the ones behind it, so that one may be seen twice. ``most``: messages of
    the largest page.
    """

    def __init__(self, peek: Peek, end: int, lowest: int, most: int) -> None:
        self._peek, self._lowest, self._most = peek, lowest, most
        self._size = min(FIRST, most)
        self.start = end
        """The number of the oldest message that was read."""
        self.weight = 0
        """Bytes of all bodies that were read."""

    @property
    def is_over(self) -> bool:
        """Whether the page of the lowest number was read."""
        return self.start <= self._lowest

    async def page(self) -> Sequence[Message]:
        """The messages before the last page; none: all of them have left the queue. Raises as ``peek``."""
        end, self.start = self.start, max(self.start - self._size, self._lowest)
        found = await self._peek(end - self.start, self.start)
        self.weight += sum(len(each.body) for each in found)
        self._size = min(self._most, 4 * self._size, fitting(found))
        return found


class Search:
    """Pages of the waiting messages that have one of these ids."""

    restarts = 0

    def __init__(self, driver: Driver, name: str, ids: Sequence[str]) -> None:
        self._driver, self._name = driver, name
        self._left = list(ids)
        self._size = _SEARCHED

    def stays(self, message: Message) -> None:
        """It is not seen again in any case."""

    async def page(self) -> Sequence[Message]:
        """The next messages; none: this is the end. Raises DriverError."""
        while self._left:
            ids, self._left = self._left[: self._size], self._left[self._size :]
            found = await self._driver.find(self._name, ids)
            self._size = min(_MOST_SEARCHED, fitting(found, _BYTES_SEARCHED))
            if found:
                return found
        return ()


def fitting(found: Sequence[Message], most: int = _BYTES) -> int:
    """Messages as large as these that have this many bytes together."""
    if not found:
        return _MOST
    some = found[:_SAMPLES]
    headers = sum(sum(100 + len(str(value)) for value in each.headers.values()) for each in some)
    mean = sum(len(each.body) for each in found) / len(found) + headers / len(some)
    return max(1, int(most / max(mean, 1)))


_WAIT = 2.0
"""Seconds to wait for the next message: a broker that pushes may need some round trips before the first."""


async def letter_of(source: Queue, id: str, clock: Clock) -> Message:
    """The waiting message of an id, the oldest, or of a name. Raises LookupError: there is none; DriverError."""
    can_peek, name = source.driver.capabilities.has("peek"), LetterNames([id])
    try:
        found = await (_seen(source, name) if can_peek else _borrowed(source, name, clock))
    except QueueNotFoundError:  # no worker has made it yet
        found = None
    if found is None:
        raise LookupError(f"no message {id!r} waits in {source.id}: it was sent back, deleted, or a process holds it")
    return found


async def _seen(source: Queue, name: LetterNames) -> Message | None:
    if source.driver.capabilities.has("find"):
        return next((each for each in await source.driver.find(source.spec.name, name.ids) if name.of(each)), None)
    walk = Walk(source.driver, source.spec.name)
    while page := await walk.page():
        for message in page:
            if name.of(message):
                return message
            walk.stays(message)
    return None


async def _borrowed(source: Queue, wanted: LetterNames, clock: Clock) -> Message | None:
    """Receive until it comes, and release all of them."""
    page, left = source.driver.capabilities.max_batch, (await source.driver.depth(source.spec.name)).ready
    held = Held(source, clock)
    try:
        while left > 0 and (batch := await held.receive(min(left, page), _WAIT)):
            left -= len(batch)
            for received in batch:
                if wanted.of(received):
                    return Message(received.id, received.body, dict(received.headers))
            await held.renew()  # else the first ones come again before the last ones have
        return None
    finally:
        await held.release()
