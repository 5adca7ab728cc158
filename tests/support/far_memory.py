"""A store of memory behind a connection that can be refused, silenced and cut: what no broker is needed for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from tasuki.clock import Clock
from tasuki.contracts.state.store import MAX_PAGE, Change, Current, Entry, Grant, Page, Store, StoreFacts
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.memory.store import MemoryStore, Shelf
from tasuki.drivers.toolkit.stores import Watcher
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, Outcome

T = TypeVar("T")
_POLL = 0.02
_TIMEOUT = 0.05


@dataclass
class Link:
    """The connections of one place: ``how`` they fail, and after how many answers they are cut."""

    how: Literal["", "refused", "silent", "unanswered"] = ""
    answers: int | None = None

    @contextmanager
    def failing(self, how: Literal["refused", "silent", "unanswered"]) -> Any:
        self.how = how
        try:
            yield
        finally:
            self.how = ""

    async def ask(self, store: Store, verb: Callable[[], Awaitable[T]]) -> T:
        if self.how == "refused":
            raise self._gone(store, "rejected")
        if self.how == "silent":
            await asyncio.sleep(_TIMEOUT)
            raise BrokerTimeoutError("no answer", driver=store.driver, outcome="unknown")
        await asyncio.sleep(0)
        answer = await verb()
        await asyncio.sleep(0)
        if self.how == "unanswered":
            raise self._gone(store, "unknown")
        if self.answers is not None:
            self.answers -= 1
            if self.answers < 0:
                self.answers = None
                raise self._gone(store, "unknown")
        return answer

    def _gone(self, store: Store, outcome: Outcome) -> BrokerUnavailableError:
        return BrokerUnavailableError("the connection is lost", driver=store.driver, outcome=outcome)


@dataclass
class Broker:
    """What all places of one name share."""

    shelves: dict[str, Shelf] = field(default_factory=dict)
    links: dict[Path, Link] = field(default_factory=dict)


_brokers: dict[str, Broker] = {}


def broker_of(place: Path) -> Broker:
    return _brokers.setdefault(place.name, Broker())


def link_of(place: Path) -> Link:
    return broker_of(place).links.setdefault(place, Link())


class FarMemoryDriver(MemoryDriver):
    """Queues as in memory; its stores outlive it."""

    def __init__(self, place: Path, clock: Clock) -> None:
        super().__init__("far", clock=clock)
        self._folder = place

    def store(self, name: str) -> Any:
        shelf = broker_of(self._folder).shelves.setdefault(name, Shelf())
        return FarMemoryStore(MemoryStore(name, self._guard, shelf, self._clock), link_of(self._folder))


class FarMemoryStore(Store):
    """Passes each verb over the link; a watch polls, as of a broker that cannot push."""

    def __init__(self, inner: MemoryStore, link: Link) -> None:
        super().__init__(inner.name, inner.driver)
        self.inner, self._link = inner, link
        self._watchers: list[Watcher] = []

    @property
    def facts(self) -> StoreFacts:
        return StoreFacts(durability="broker")

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()
        for watcher in self._watchers:
            watcher.end()

    async def get(self, key: str) -> Entry | None:
        return await self._link.ask(self, lambda: self.inner.get(key))

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        return await self._link.ask(self, lambda: self.inner.put(key, value, ttl=ttl, version=version))

    async def delete(self, key: str, *, version: int | None = None) -> bool:
        return await self._link.ask(self, lambda: self.inner.delete(key, version=version))

    async def list(self, prefix: str = "", *, after: str = "", limit: int = 100) -> Page:
        return await self._link.ask(self, lambda: self.inner.list(prefix, after=after, limit=limit))

    async def watch(self, prefix: str = "") -> AsyncIterator[Change | Literal[Current.CURRENT]]:
        watcher = Watcher(prefix)

        async def look() -> None:
            entries: list[Entry] = []
            page = Page((), "")
            while page.cursor or not entries:
                page = await self.list(prefix, after=page.cursor, limit=MAX_PAGE)
                entries += page.entries
                if not page.cursor:
                    break
            watcher.tell_all(entries)

        await look()
        self._watchers.append(watcher)
        try:
            async for change in watcher.read(look, _POLL):
                yield change
        finally:
            self._watchers.remove(watcher)

    async def take(self, key: str, tokens: int, *, rate: float, burst: int) -> Grant:
        return await self._link.ask(self, lambda: self.inner.take(key, tokens, rate=rate, burst=burst))

    async def give(self, key: str, tokens: int, *, rate: float, burst: int) -> None:
        await self._link.ask(self, lambda: self.inner.give(key, tokens, rate=rate, burst=burst))

    async def hold(self, key: str, holder: str, *, places: int, lease: float) -> float | None:
        return await self._link.ask(self, lambda: self.inner.hold(key, holder, places=places, lease=lease))

    async def release(self, key: str, holder: str) -> None:
        await self._link.ask(self, lambda: self.inner.release(key, holder))

    async def time(self) -> float:
        return await self._link.ask(self, self.inner.time)
