"""UniqueWindows: one message per key for a time, on a driver that cannot do that itself, by the queue's store.

The key is taken in the store, and then the message is published: two steps. A crash between them leaves a key without a
message until the window ends. That loses nothing: no publish was confirmed, and one of the same id
goes through. But a publish of another id is kept meanwhile, in favour of a message that never came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import NamedTuple

from tasuki.contracts.driver import Merged, Outgoing, Unique
from tasuki.contracts.state.store import MAX_KEY_BYTES, Store
from tasuki.errors import BrokerTimeoutError, ConflictError, DriverError, UnsupportedError
from tasuki.queues.batcher import Results

FindStore = Callable[[], Awaitable[Store]]
Publish = Callable[[Sequence[Outgoing], float], Awaitable[Results]]

_TRIES = 10
"""How often a key is asked for that was taken, and free again when we looked who has it."""


_NO_TIME = "the store did not answer within the deadline"
_NO_STORE = "its driver keeps no windows, and the queue has no state: write 'state: <id of a store>' at the queue"


class _Taken(NamedTuple):
    """A key that a message has; ``version``: of the entry that this publish made, 0 where an earlier one did."""

    key: str
    version: int


class UniqueWindows:
    """Of one queue.

    Args:
        queue: its id; ``name``: its name at the broker.
        driver: the driver's name, for errors.
        publish: publishes messages that are not unique, within so many seconds.
    """

    def __init__(self, queue: str, name: str, driver: str, publish: Publish) -> None:
        self._queue = queue
        self._name = name
        self._driver = driver
        self._publish = publish
        self.find_store: FindStore | None = None
        """Gives the store of the queue's state; raises DriverError where there is none, or it is away."""

    async def publish(self, messages: Sequence[Outgoing], timeout: float) -> Results:
        """Publish in order; one result a message. Messages without a window go as they are."""
        places = [index for index, each in enumerate(messages) if has_window(each)]
        if not places:
            return await self._publish(messages, timeout)
        end = asyncio.get_running_loop().time() + timeout
        results: Results = [None] * len(messages)
        taken: dict[int, _Taken] = {}
        try:
            async with asyncio.timeout_at(end):
                await self._take_all(messages, places, taken, results)
        except TimeoutError:
            for index, message in enumerate(messages):
                results[index] = results[index] or self._refused(BrokerTimeoutError, message, _NO_TIME)
        sent = [index for index, result in enumerate(results) if result is None]
        if sent:
            left = max(end - asyncio.get_running_loop().time(), 0.0)
            answers = await self._publish([messages[index] for index in sent], left)
            for index, published in zip(sent, answers, strict=True):
                results[index] = published
        await self._give_back(taken, results)
        return results

    async def _take_all(
        self, messages: Sequence[Outgoing], places: Sequence[int], taken: dict[int, _Taken], results: Results
    ) -> None:
        """Take the keys of the messages at these places; messages of one key in their order."""
        by_key: dict[str, list[int]] = {}
        for index in places:
            by_key.setdefault(_unique_of(messages[index]).key, []).append(index)

        async def take_in_turn(indexes: Sequence[int]) -> None:
            for index in indexes:
                found = await self._take(messages[index])
                if isinstance(found, _Taken):
                    taken[index] = found
                    messages[index].unique = None  # the broker need not know
                else:
                    results[index] = found

        await asyncio.gather(*map(take_in_turn, by_key.values()))

    async def _take(self, message: Outgoing) -> _Taken | DriverError | Merged:
        """The key, or who has it, or why that is not known; the message was not published then."""
        unique = _unique_of(message)
        if self.find_store is None:
            return self._refused(UnsupportedError, message, _NO_STORE)
        key, id = key_of(self._name, unique.key), message.id.encode("utf-8", "surrogatepass")
        assert not isinstance(unique.span, str)
        try:
            store = await self.find_store()
            for _ in range(_TRIES):
                with suppress(ConflictError):
                    return _Taken(key, await store.put(key, id, version=0, ttl=unique.span))
                entry = await store.get(key)
                if entry is not None and entry.value == id:
                    return _Taken(key, 0)  # of an earlier publish, whose outcome is unknown
                if entry is not None:
                    return Merged("kept", entry.value.decode("utf-8", "surrogatepass"))
        except DriverError as problem:
            return self._refused(type(problem), message, f"its key cannot be taken in the store: {problem}")
        return self._refused(DriverError, message, f"its key was taken {_TRIES} times, and free again")

    async def _give_back(self, taken: dict[int, _Taken], results: Results) -> None:
        """Free the keys of messages that the broker has rejected; after an unknown outcome a message has its key."""
        for index, (key, version) in taken.items():
            result = results[index]
            if version and isinstance(result, DriverError) and result.outcome == "rejected" and self.find_store:
                with suppress(DriverError):  # a publish of the same id goes through, and the window ends
                    await (await self.find_store()).delete(key, version=version)

    def _refused(self, type_: type[DriverError], message: Outgoing, why: str) -> DriverError:
        problem = f"message {message.id!r} of queue {self._queue!r} was not published: {why}"
        return type_(problem, driver=self._driver, queue=self._queue, outcome="rejected")


def has_window(message: Outgoing) -> bool:
    """Whether a message is to be the only one of its key for a time."""
    return message.unique is not None and not isinstance(message.unique.span, str)


def key_of(queue: str, key: str) -> str:
    """The key in the store, of a queue by its name at the broker: a digest where a store would not take it as it is."""
    plain = f"unique/{queue}/{key}"
    if "/" not in queue and len(plain.encode()) <= MAX_KEY_BYTES:
        return plain
    return f"unique/{sha256(f'{len(queue)} {queue} {key}'.encode()).hexdigest()}"


def _unique_of(message: Outgoing) -> Unique:
    assert message.unique is not None
    return message.unique
