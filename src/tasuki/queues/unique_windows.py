"""UniqueWindows: unique messages for a time, by the queue's store, on a driver without them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from tasuki.contracts.driver import Merged, Outgoing
from tasuki.contracts.state.store import MAX_KEY_BYTES, Store
from tasuki.errors import BrokerTimeoutError, ConflictError, DriverError, UnsupportedError
from tasuki.queues.batcher import Results

_CLAIMED, _KEPT = b"?", b"="

_TRIES = 10
"""How often a key is asked for that was taken, and free again when we looked who has it."""

_SHORTEST_WAIT, _LONGEST_WAIT = 0.02, 0.5
"""Seconds after which the claim of another publish is checked again."""


class RestlessError(Exception):
    """A key was taken at each attempt, and free again."""


@dataclass(slots=True)
class Claim:
    """The request of one publish for a key; ``span``: seconds of the window."""

    key: str
    id: bytes
    span: float
    number: bytes = field(default_factory=lambda: os.urandom(8))
    version: int = 0
    """Of the entry that this publish has made; 0: it has none, or that is not known."""
    is_asked: bool = False
    """An entry of ours may be there."""
    is_behind: bool = False
    """Another publish has claimed the key, and has not ended."""

    @property
    def value(self) -> bytes:
        """Of the entry as long as the publish lasts."""
        return _CLAIMED + self.number + self.id


async def take(store: Store, claim: Claim, ttl: float) -> Merged | None:
    """Claim a key for ``ttl`` seconds, and wait while another publish has claimed it.

    Returns:
        None: the message is to be published. Else the one that has the key.

    Raises:
        DriverError: the key may be claimed if ``claim.is_asked``.
        RestlessError: it is not.
    """
    expected, tries, delay = 0, 0, _SHORTEST_WAIT
    while tries < _TRIES:
        tries += 1
        if await _put(store, claim, expected, ttl):
            return None
        entry = await store.get(claim.key)
        if entry is not None and entry.value == claim.value:  # the answer to our put was lost
            claim.version = entry.version
            return None
        expected = 0
        if entry is None:
            continue
        state, id = _read(entry.value)
        if state == _KEPT:
            claim.is_asked = False
            # With its id: an earlier publish of this message, whose outcome was unknown.
            return None if id == claim.id else Merged("kept", id.decode("utf-8", "surrogatepass"))
        if id == claim.id:
            expected = entry.version
            continue
        claim.is_behind, tries = True, 0
        await asyncio.sleep(delay)
        delay = min(2 * delay, _LONGEST_WAIT)
    claim.is_asked = False
    raise RestlessError(f"its key was taken {_TRIES} times, and free again")


async def _put(store: Store, claim: Claim, expected: int, ttl: float) -> bool:
    """Whether the key is ours now; False: look who has it."""
    claim.is_asked = True
    try:
        claim.version = await store.put(claim.key, claim.value, version=expected, ttl=ttl)
    except ConflictError:
        return False
    except DriverError as problem:
        if problem.outcome == "rejected":
            claim.is_asked = False
            raise
        return False
    return True


def _read(value: bytes) -> tuple[bytes, bytes]:
    """State and id of an entry."""
    return (_CLAIMED, value[9:]) if value[:1] == _CLAIMED else (_KEPT, value[1:])


async def keep(store: Store, claim: Claim) -> None:
    """Keep the key for a stored message, for the window, unless another message has it. Raises DriverError."""
    version = claim.version
    for _ in range(_TRIES):
        with suppress(ConflictError):
            await store.put(claim.key, _KEPT + claim.id, version=version, ttl=claim.span)
            return
        entry = await store.get(claim.key)
        if entry is not None and _read(entry.value)[1] != claim.id:
            return
        version = 0 if entry is None else entry.version


async def give_back(store: Store, claim: Claim) -> None:
    """Free a key whose message was not stored. Raises DriverError."""
    version = claim.version
    if not version:
        entry = await store.get(claim.key)
        version = entry.version if entry is not None and entry.value == claim.value else 0
    if version:
        with suppress(ConflictError):
            await store.delete(claim.key, version=version)


FindStore = Callable[[], Awaitable[Store]]

Publish = Callable[[Sequence[Outgoing], float], Awaitable[Results]]

Verb = Callable[[Store, Claim], Awaitable[None]]


_log = logging.getLogger("tasuki.queue")


_LONGEST = 60.0
"""Seconds of a publish with keys: each is claimed for so long, and a killed publisher keeps it from the others."""

_MARGIN = 5.0
"""Seconds that a claim lasts longer, in which its key is kept or freed."""

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
"""Seconds between two attempts."""


_NO_TIME = "the store did not answer within the deadline"

_BEHIND = "another publish of its key has not ended within the deadline"

_NO_STORE = "its driver keeps no windows, and the queue has no state: write 'state: <id of a store>' at the queue"


class UniqueWindows:
    """The windows of one queue.

    Args:
        queue: its id; ``name``: its name at the broker.
        driver: the driver's name, for errors.
        publish: publishes messages that are not unique, within this number of seconds.
    """

    def __init__(self, queue: str, name: str, driver: str, publish: Publish) -> None:
        self._queue = queue
        self._name = name
        self._driver = driver
        self._publish = publish
        self._tasks: set[asyncio.Task[Any]] = set()
        self.find_store: FindStore | None = None
        """Gives the store of the queue's state; raises DriverError where there is none, or it is unavailable."""

    async def publish(self, messages: Sequence[Outgoing], timeout: float) -> Results:
        """Publish in order; one result a message. Messages without a window go as they are.

        Of several with one key in one batch the later ones wait for the first. With a window it ends within a minute.
        """
        if not any(map(has_window, messages)):
            return await self._publish(messages, timeout)
        end = asyncio.get_running_loop().time() + min(timeout, _LONGEST)
        results: Results = [None] * len(messages)
        waiting: Sequence[int] = range(len(messages))
        while waiting:
            first, waiting = _first_of_each_key(messages, waiting)
            answers = await self._publish_once([messages[index] for index in first], end)
            for index, answer in zip(first, answers, strict=True):
                results[index] = answer
        return results

    async def _publish_once(self, messages: Sequence[Outgoing], end: float) -> Results:
        """Messages of different keys."""
        claims: dict[int, Claim] = {}
        results: Results = [None] * len(messages)
        try:
            async with asyncio.timeout_at(end):
                places = [index for index, each in enumerate(messages) if has_window(each)]
                await asyncio.gather(*(self._claim(index, messages, claims, results, end) for index in places))
        except TimeoutError:
            for index, message in enumerate(messages):
                is_behind = index in claims and claims[index].is_behind
                why = _BEHIND if is_behind else _NO_TIME
                results[index] = results[index] or self._refused(BrokerTimeoutError, message, why)
            self._start(self._settle(give_back, claims.values()))
            return results
        except asyncio.CancelledError:
            self._start(self._settle(give_back, claims.values()))
            raise
        return await asyncio.shield(self._start(self._finish(messages, claims, results, end)))

    async def _claim(
        self, index: int, messages: Sequence[Outgoing], claims: dict[int, Claim], results: Results, end: float
    ) -> None:
        """Claim the key of one message, or say who has it, or why that is not known; it was not published then."""
        message = messages[index]
        unique = message.unique
        assert unique is not None
        assert not isinstance(unique.span, str)
        if self.find_store is None:
            results[index] = self._refused(UnsupportedError, message, _NO_STORE)
            return
        id = message.id.encode("utf-8", "surrogatepass")
        claim = claims[index] = Claim(key_of(self._name, unique.key), id, unique.span)
        left = end - asyncio.get_running_loop().time()
        try:
            store = await self.find_store()
            results[index] = await take(store, claim, left + _MARGIN)
        except DriverError as problem:
            why = f"its key cannot be taken in the store: {problem}"
            results[index] = self._refused(type(problem), message, why)
        except RestlessError as problem:
            results[index] = self._refused(DriverError, message, str(problem))
        if results[index] is None:
            message.unique = None  # the broker need not know

    async def _finish(
        self, messages: Sequence[Outgoing], claims: dict[int, Claim], results: Results, end: float
    ) -> Results:
        """Publish what has its key, and settle the claims by what became of it; waits for that until ``end``."""
        loop = asyncio.get_running_loop()
        sent = [index for index, result in enumerate(results) if result is None]
        if sent:
            answers = await self._publish([messages[index] for index in sent], max(end - loop.time(), 0.0))
            for index, published in zip(sent, answers, strict=True):
                results[index] = published
        stored = [claim for index, claim in claims.items() if claim.is_asked and results[index] is None]
        refused = [claim for index, claim in claims.items() if _is_rejected(results[index])]
        self._start(self._settle(give_back, [claim for claim in refused if not claim.version]))
        settled = [
            self._start(self._settle(keep, stored)),
            self._start(self._settle(give_back, [claim for claim in refused if claim.version])),
        ]
        await asyncio.wait(settled, timeout=max(end - loop.time(), 0.0))
        return results

    async def _settle(self, verb: Verb, claims: Collection[Claim]) -> None:
        """Do this with each claim that may be in the store, until the claims are over."""
        asked = [claim for claim in claims if claim.is_asked]
        if not asked or self.find_store is None:
            return
        problem: DriverError | None = None
        try:
            async with asyncio.timeout(_MARGIN):
                delay = _SHORTEST_PAUSE
                while True:
                    try:
                        store = await self.find_store()
                        await asyncio.gather(*(verb(store, claim) for claim in asked))
                    except DriverError as error:
                        problem = error
                    else:
                        return
                    await asyncio.sleep(delay)
                    delay = min(2 * delay, _LONGEST_PAUSE)
        except TimeoutError:
            if verb is keep:
                text = "queue %s: the windows of %d messages end early, for the store has not recorded them: %s"
                _log.warning(text, self._queue, len(asked), problem or "no answer")

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Have it done, whatever happens to the caller."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _refused(self, type_: type[DriverError], message: Outgoing, why: str) -> DriverError:
        problem = f"message {message.id!r} of queue {self._queue!r} was not published: {why}"
        return type_(problem, driver=self._driver, queue=self._queue, outcome="rejected")


def has_window(message: Outgoing) -> bool:
    """Whether a message is to be the only one of its key for a time."""
    return message.unique is not None and not isinstance(message.unique.span, str)


def _first_of_each_key(messages: Sequence[Outgoing], places: Sequence[int]) -> tuple[list[int], list[int]]:
    """The places of the messages that need not wait for another of their key, and the others."""
    keys: set[str] = set()
    first: list[int] = []
    others: list[int] = []
    for index in places:
        unique = messages[index].unique if has_window(messages[index]) else None
        if unique is not None and unique.key in keys:
            others.append(index)
            continue
        if unique is not None:
            keys.add(unique.key)
        first.append(index)
    return first, others


def _is_rejected(result: object) -> bool:
    """Whether a message is certainly not stored."""
    return isinstance(result, DriverError) and result.outcome == "rejected"


def key_of(queue: str, key: str) -> str:
    """The key in the store, of a queue by its name at the broker: a digest where a store would not take it as it is."""
    plain = f"unique/{queue}/{key}"
    if "/" not in queue and len(plain.encode()) <= MAX_KEY_BYTES:
        return plain
    return f"unique/{sha256(f'{len(queue)} {queue} {key}'.encode()).hexdigest()}"
