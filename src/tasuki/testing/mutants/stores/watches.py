"""Mutants of watches."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

from tasuki.clock import Clock
from tasuki.contracts.state.store import CURRENT, Change, Current, Store
from tasuki.errors import DriverError
from tasuki.testing.mutants.mutant import StoreMutant, Watch

Item = Change | Literal[Current.CURRENT]
_POLL = 0.005


class WatchMissesWhatChangesAfterItsList(StoreMutant):
    noticed_by = ("test_12_no_change_falls_between_the_entries_and_the_changes",)

    async def watch(self, prefix: str = "") -> AsyncIterator[Item]:
        for entry in await self.entries(prefix):
            yield Change(*entry)
        await asyncio.sleep(0.05)
        subscription = self.inner.watch(prefix)
        while await anext(subscription) is not CURRENT:
            pass
        yield CURRENT
        async for change in subscription:
            yield change


class WatchByTheHighestVersion(StoreMutant):
    """Looks for higher versions than the highest that it has seen; a lower one may be committed later."""

    noticed_by = ("test_12_the_last_of_many_changes_comes",)

    async def watch(self, prefix: str = "") -> AsyncIterator[Item]:
        batches, highest = _Batches(self.inner.watch(prefix)), 0
        try:
            while True:
                batch = await batches.next()
                is_current = CURRENT in batch
                changes = [item for item in batch if isinstance(item, Change)]
                for change in sorted(changes, key=lambda change: -change.version):
                    if is_current or change.value is None or change.version > highest:
                        yield change
                    highest = max(highest, change.version)
                if is_current:
                    yield CURRENT
        finally:
            batches.close()


class WatchForgetsDeletions(StoreMutant):
    noticed_by = ("test_13_a_deletion_is_reported",)

    async def watch(self, prefix: str = "") -> AsyncIterator[Item]:
        async for change in self.inner.watch(prefix):
            if change is CURRENT or change.value is not None:
                yield change


class WatchForgetsExpiries(StoreMutant):
    noticed_by = ("test_13_an_expiry_is_reported",)

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner, clock)
        self._deleted: set[str] = set()

    async def delete(self, key: str, *, version: int | None = None) -> bool:
        self._deleted.add(key)
        return await self.inner.delete(key, version=version)

    async def watch(self, prefix: str = "") -> AsyncIterator[Item]:
        async for change in self.inner.watch(prefix):
            if change is CURRENT or change.value is not None or change.key in self._deleted:
                yield change


class WatchEndsAKeyByItsFirstTtl(StoreMutant):
    """As a client that notes the ttl of each put, and does not learn of the next one."""

    noticed_by = ("test_13_no_expiry_of_a_key_whose_ttl_was_set_again_is_reported",)

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner, clock)
        self._ends: dict[str, float] = {}

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        if ttl:
            self._ends[key] = await self.time() + ttl
        return await self.inner.put(key, value, ttl=ttl, version=version)

    async def watch(self, prefix: str = "") -> AsyncIterator[Item]:
        last: dict[str, int] = {}
        async for change in self.inner.watch(prefix):
            if change is not CURRENT:
                last[change.key] = change.version
            for key, end in list(self._ends.items()):
                if key in last and end <= await self.time():
                    del self._ends[key]
                    yield Change(key, None, last[key])
            yield change


class WatchForgetsDeletionsOverAReconnect(StoreMutant):
    noticed_by = ("test_15_a_watch_learns_of_all_that_changed_while_it_was_cut_off",)
    raises = False

    async def watch(self, prefix: str = "") -> AsyncIterator[Item]:
        known: dict[str, Change] = {}
        is_current = was_away = False
        while True:
            try:
                found = {entry.key: Change(*entry) for entry in await self.entries(prefix)}
            except DriverError:
                if self.raises:
                    raise
                was_away = True
                await asyncio.sleep(_POLL)
                continue
            for change in set(found.values()) - set(known.values()):
                yield change
            for key in () if was_away else known.keys() - found.keys():
                yield known[key]._replace(value=None)
            if not is_current:
                yield CURRENT
            known, is_current, was_away = found, True, False
            await asyncio.sleep(_POLL)


class WatchRaisesWhenItIsCutOff(WatchForgetsDeletionsOverAReconnect):
    raises = True


class WatchKeepsWhatTheBrokerHasLost(StoreMutant):
    """Passes over versions that are lower than the known ones."""

    noticed_by = ("test_34_a_watch_reports_what_the_broker_has_after_its_data_was_put_back",)

    async def watch(self, prefix: str = "") -> AsyncIterator[Item]:
        known: dict[str, int] = {}
        async for change in self.inner.watch(prefix):
            if isinstance(change, Change):
                if change.version < known.get(change.key, 0):
                    continue
                known[change.key] = change.version
            yield change


class WatchTellsOfEveryPrefix(StoreMutant):
    noticed_by = ("test_12_a_watch_tells_of_its_prefix_alone",)

    def watch(self, prefix: str = "") -> Watch:
        return self.inner.watch("")


class WatchIsCurrentTooSoon(StoreMutant):
    noticed_by = ("test_12_first_the_entries_then_current_then_changes",)

    async def watch(self, prefix: str = "") -> AsyncIterator[Item]:
        yield CURRENT
        async for change in self.inner.watch(prefix):
            if change is not CURRENT:
                yield change


class WatchFallsBack(StoreMutant):
    """Gives the change before the last one again."""

    noticed_by = ("test_12_the_versions_of_a_key_never_fall",)

    async def watch(self, prefix: str = "") -> AsyncIterator[Item]:
        known: dict[str, Change] = {}
        async for change in self.inner.watch(prefix):
            yield change
            if change is not CURRENT:
                if (old := known.get(change.key)) is not None:
                    yield old
                known[change.key] = change


class WatchIsSlow(StoreMutant):
    noticed_by = ("test_14_a_change_is_reported_soon",)

    async def watch(self, prefix: str = "") -> AsyncIterator[Item]:
        async for change in self.inner.watch(prefix):
            await asyncio.sleep(1.2)
            yield change


class WatchKeepsEveryChange(StoreMutant):
    noticed_by = ("test_16_an_unread_watch_keeps_one_change_for_each_key",)

    _kept: tuple[asyncio.Queue[Item | None], ...] = ()

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        new = await self.inner.put(key, value, ttl=ttl, version=version)
        for unread in self._kept:
            unread.put_nowait(Change(key, value, new))
        return new

    async def watch(self, prefix: str = "") -> AsyncIterator[Item]:
        unread: asyncio.Queue[Item | None] = asyncio.Queue()
        self._kept = (*self._kept, unread)

        async def read() -> None:
            async for change in self.inner.watch(prefix):
                unread.put_nowait(change)
            unread.put_nowait(None)

        reading = asyncio.create_task(read())
        try:
            while (change := await unread.get()) is not None:
                yield change
        finally:
            reading.cancel()


class CloseLeavesTheWatchWaiting(StoreMutant):
    noticed_by = ("test_28_a_close_ends_the_watches",)

    async def watch(self, prefix: str = "") -> AsyncIterator[Item]:
        async for change in self.inner.watch(prefix):
            yield change
        await asyncio.Event().wait()


class _Batches:
    """What a watch gives, in batches: the next item, and what comes within a moment after it."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._coming: asyncio.Future[Item] | None = None

    async def next(self) -> list[Item]:
        items: list[Item] = []
        while True:
            self._coming = self._coming or asyncio.ensure_future(anext(self._watch))
            await asyncio.wait([self._coming], timeout=0.05 if items else None)
            if not self._coming.done():
                return items
            items.append(self._coming.result())
            self._coming = None

    def close(self) -> None:
        if self._coming is not None:
            self._coming.cancel()
