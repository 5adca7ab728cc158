"""StoreMutant: a store around a real one, with one thing broken by its public verbs alone."""

# The docstrings of Store hold.
# ruff: noqa: D102

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal

from tasuki.clock import Clock
from tasuki.contracts.driver import Driver
from tasuki.contracts.state.store import MAX_PAGE, Change, Current, Entry, Grant, Page, Store, StoreFacts
from tasuki.testing.mutants.mutant import Mutant

Watch = AsyncIterator[Change | Literal[Current.CURRENT]]


class StoreMutant(Store):
    """Passes everything on to a real store, but for what a subclass breaks; a case in ``noticed_by`` must fail."""

    noticed_by: tuple[str, ...] = ()
    needs = ""
    """A fact without which it changes nothing."""

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner.name, inner.driver)
        self.inner = inner
        self.clock = clock
        """The clock that the driver was given."""

    @classmethod
    def of(cls, driver: Driver, name: str, clock: Clock) -> Store:
        """The store of this name at a driver, with this mutation."""
        return cls(driver.store(name), clock)

    async def entries(self, prefix: str = "") -> list[Entry]:
        """All entries of the real store."""
        page = await self.inner.list(prefix, limit=MAX_PAGE)
        found = list(page.entries)
        while page.cursor:
            page = await self.inner.list(prefix, after=page.cursor, limit=MAX_PAGE)
            found += page.entries
        return found

    @property
    def facts(self) -> StoreFacts:
        return self.inner.facts

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()

    async def get(self, key: str) -> Entry | None:
        return await self.inner.get(key)

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        return await self.inner.put(key, value, ttl=ttl, version=version)

    async def put_all(self, entries: Sequence[tuple[str, bytes]], *, ttl: float | None = None) -> None:
        await self.inner.put_all(entries, ttl=ttl)

    async def delete(self, key: str, *, version: int | None = None) -> bool:
        return await self.inner.delete(key, version=version)

    async def list(self, prefix: str = "", *, after: str = "", limit: int = 100) -> Page:
        return await self.inner.list(prefix, after=after, limit=limit)

    def watch(self, prefix: str = "") -> Watch:
        return self.inner.watch(prefix)

    async def take(self, key: str, tokens: int, *, rate: float, burst: int) -> Grant:
        return await self.inner.take(key, tokens, rate=rate, burst=burst)

    async def give(self, key: str, tokens: int, *, rate: float, burst: int) -> None:
        await self.inner.give(key, tokens, rate=rate, burst=burst)

    async def hold(self, key: str, holder: str, *, places: int, lease: float) -> float | None:
        return await self.inner.hold(key, holder, places=places, lease=lease)

    async def release(self, key: str, holder: str) -> None:
        await self.inner.release(key, holder)

    async def time(self) -> float:
        return await self.inner.time()


class UnbrokenStore(StoreMutant):
    """No mutant: with it every case that is to notice one must pass, or its failing would prove nothing."""


class StoresBroken(Mutant):
    """A driver that is as it was, but for its stores."""

    def __init__(self, inner: Driver, mutant: type[StoreMutant], clock: Clock) -> None:
        super().__init__(inner)
        self._mutant = mutant
        self._clock = clock

    def store(self, name: str) -> Store:
        return self._mutant.of(self.inner, name, self._clock)
