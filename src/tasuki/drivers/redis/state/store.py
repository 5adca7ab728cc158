"""RedisStore: the verbs of the store contract, each one script on the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any, Literal

from tasuki.contracts.state.store import MAX_PAGE, Change, Current, Entry, Grant, Page, Store, StoreFacts
from tasuki.drivers.redis import scripts
from tasuki.drivers.redis.batches import microseconds
from tasuki.drivers.redis.session import Session
from tasuki.drivers.redis.state import places
from tasuki.drivers.redis.state.feed import Feed, Listed, listed
from tasuki.drivers.redis.state.places import bounds, raw, store_place
from tasuki.drivers.toolkit.stores import Opened, require
from tasuki.errors import ConflictError, MessageTooLargeError, QueueFullError, StoreFullError

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.link import Word

_LOOK = 60.0
"""Seconds between two polls of a reader: the feed brings everything, so there is nothing to poll for."""


class RedisStore(Store):
    """A store at Redis or Valkey; its clock is the server's.

    Args:
        name: the store's name.
        driver: the id of the driver's entry.
        prefix: what all keys begin with.
        session: returns the driver's present session; a forked child has another one than its parent.
    """

    def __init__(self, name: str, driver: str, prefix: str, session: Callable[[], Session]) -> None:
        super().__init__(name, driver)
        self._place = store_place(prefix, name)
        self._session = session
        self._opened: Opened[Feed] = Opened(name, driver)
        self._facts = StoreFacts(durability="process", multi_process=True, push=True)

    @property
    def facts(self) -> StoreFacts:
        """Durability by the configuration of the server that answers now."""
        level = self._session().durability_at(self._place.slot)
        if level != self._facts.durability:
            self._facts = replace(self._facts, durability=level)
        return self._facts

    async def open(self) -> None:
        """Record the layout at the server, or check the recorded one."""
        found = await self._run(places.OPEN, self._place.keys, places.LAYOUT)
        place = f"store {self.name!r} at Redis"
        require(int(found), places.LAYOUT, place=place, instead="prefix", driver=self.driver)
        self._opened.open()

    async def exists(self) -> bool:
        """Whether the server has the key that records the layout."""
        session = self._session()
        with session.translating():
            return bool(await session.nodes("").call(self._place.slot, "EXISTS", self._place.keys[0]))

    async def close(self) -> None:
        """End the watches, in all loops."""
        for loop, feed in self._opened.close():
            if loop is asyncio.get_running_loop():
                feed.end()
            else:
                with suppress(RuntimeError):  # the loop is closed, and the watches with it
                    loop.call_soon_threadsafe(feed.end)

    async def get(self, key: str) -> Entry | None:
        """See Store."""
        found = await self._entries(places.READ, self._key(key))
        return Entry(key, found[1], found[0]) if found else None

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        """See Store."""
        span = "" if ttl is None or ttl == inf else microseconds(max(ttl, 0.0))
        expected = "" if version is None else version
        answer = await self._entries(places.WRITE, self._key(key, value), bytes(value), span, expected)
        if not answer[0]:
            raise self._conflict(key, version, answer[1])
        return int(answer[0])

    async def put_all(self, entries: Sequence[tuple[str, bytes]], *, ttl: float | None = None) -> None:
        """See Store. One script."""
        span = "" if ttl is None or ttl == inf else microseconds(max(ttl, 0.0))
        words = [word for key, value in entries for word in (self._key(key, value), bytes(value))]
        await self._entries(places.WRITE_ALL, span, *words)

    async def delete(self, key: str, *, version: int | None = None) -> bool:
        """See Store."""
        answer = await self._entries(places.ERASE, self._key(key), "" if version is None else version)
        if len(answer) > 1:
            raise self._conflict(key, version, answer[1])
        return bool(answer[0])

    async def list(self, prefix: str = "", *, after: str = "", limit: int = 100) -> Page:
        """See Store. A page also ends after some megabytes of values."""
        self._opened.check()
        entries: Sequence[Listed] = ()
        while True:
            cursor, entries = await self._page(prefix, after, min(max(limit, 1), MAX_PAGE))
            if entries or not cursor:
                return Page([entry for entry, _ in entries], cursor)
            after = cursor  # so many expired keys were there that the script gave up

    async def _page(self, prefix: str, after: str, limit: int) -> tuple[str, Sequence[Listed]]:
        return listed(await self._entries(places.PAGE, *bounds(prefix, after), limit))

    async def watch(self, prefix: str = "") -> AsyncIterator[Change | Literal[Current.CURRENT]]:
        """See Store. It begins with an answer of the server, or with the error that there is none."""
        await self.time()
        feed = self._opened.here(self._new_feed)
        watcher = feed.join(prefix)
        try:
            async for change in watcher.read(_nothing, _LOOK):
                yield change
        finally:
            feed.leave(watcher)

    def _new_feed(self) -> Feed:
        return Feed(self._session(), self._place, self._entries, self._page)

    async def take(self, key: str, tokens: int, *, rate: float, burst: int) -> Grant:
        """See Store."""
        bucket = self._place.bucket(self._key(key))
        granted, wait = await self._run(places.TAKE, bucket, tokens, repr(float(rate)), burst)
        return Grant(granted, float(wait))

    async def give(self, key: str, tokens: int, *, rate: float, burst: int) -> None:
        """See Store."""
        await self._run(places.GIVE, self._place.bucket(self._key(key)), tokens, repr(float(rate)), burst)

    async def hold(self, key: str, holder: str, *, places: int, lease: float) -> float | None:
        """See Store."""
        until = await self._hold(key, holder, max(places, 0), microseconds(max(lease, 0.0)))
        return until / 1e6 if until else None

    async def release(self, key: str, holder: str) -> None:
        """See Store."""
        await self._hold(key, holder, -1, 0)

    async def _hold(self, key: str, holder: str, count: int, lease: int) -> int:
        held = self._place.places(self._key(key))
        return int(await self._run(places.HOLD, held, raw(holder), count, lease))

    async def time(self) -> float:
        """See Store."""
        self._opened.check()
        session = self._session()
        nodes = session.nodes("")
        with session.translating():
            seconds, micros = await nodes.call(self._place.slot, "TIME")
        return int(seconds) + int(micros) / 1e6

    def _key(self, key: str, value: bytes = b"") -> bytes:
        self._opened.check()
        self.check(key, value)
        return key.encode()

    async def _entries(self, script: scripts.Script, *words: Word) -> Any:
        return await self._run(script, self._place.keys, *words)

    async def _run(self, script: scripts.Script, keys: Sequence[bytes], *words: Word) -> Any:
        session = self._session()
        nodes = session.nodes("")
        try:
            with session.translating():
                return await scripts.run(nodes, self._place.slot, script, keys, words)
        except QueueFullError as error:
            problem = f"store {self.name!r} of driver {self.driver!r} is full: Redis is at its maxmemory; raise it"
            raise StoreFullError(problem, driver=self.driver) from error
        except MessageTooLargeError as error:
            raise self._limit(str(error)) from error

    def _conflict(self, key: str, expected: int | None, found: int) -> ConflictError:
        problem = f"key {key[:40]!r} has version {found}, not {expected}"
        return ConflictError(f"store {self.name!r} of driver {self.driver!r}: {problem}", driver=self.driver)


async def _nothing() -> None:
    """There is nothing to poll for."""
