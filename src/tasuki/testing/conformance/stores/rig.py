"""What a case gets to work with: a store on a fresh place, time by the store's clock, and readers of watches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal
from unittest import SkipTest

from tasuki.contracts.driver import Driver
from tasuki.contracts.state.store import CURRENT, Change, Current, Entry, Store, StoreFacts
from tasuki.errors import ConflictError, DriverError
from tasuki.testing.conformance.clock import ShiftedClock
from tasuki.testing.conformance.rig import Rig, Suite, open_rig

NAME = "state"
"""The store of a case."""


class StoreSuite(Suite):
    """The hooks of a suite of a store, beside the hooks of a driver's suite."""

    entries: ClassVar[int] = 2_500
    """Entries of the case that needs many."""
    changes: ClassVar[int] = 3_000
    """Changes that a watch without a reader has to bear."""
    rounds: ClassVar[int] = 300
    """Steps of each process where several work at once."""

    def rig(self, place: Path, clock: ShiftedClock) -> StoreRig:
        """What each case of this suite gets."""
        return StoreRig(self, place, clock)

    def full(self, store: Store) -> AbstractAsyncContextManager[None]:
        """Let the store have no room for a new entry of a kilobyte, for the time of the block."""
        raise SkipTest("not applicable: the suite cannot fill this store")

    def detour(self, place: Path) -> Path:
        """Another place of the same broker and the same store, which ``broken`` leaves alone."""
        raise SkipTest("not applicable: the suite has no second way to this broker")

    def facts(self) -> StoreFacts:
        """The facts of the store, for the report; asked after a case has passed."""

        async def ask() -> StoreFacts:
            async with open_rig(self) as rig:
                assert isinstance(rig, StoreRig)
                return rig.store.facts

        return asyncio.run(ask())


class StoreRig(Rig):
    """One case's driver and its store."""

    suite: StoreSuite

    def __init__(self, suite: StoreSuite, place: Path, clock: ShiftedClock) -> None:
        super().__init__(suite, place, clock)
        self._stores: list[Store] = []

    async def start(self, needs: Sequence[str]) -> None:
        """Open the driver and the store. Raises SkipTest for a fact that the store does not claim."""
        if not self.driver.capabilities.has("store"):
            raise SkipTest(f"not applicable: driver {self.driver.name} lacks store")
        await self.open()
        self.store = await self.open_store()
        for fact in needs:
            if not has(self.store.facts, fact):
                raise SkipTest(f"not applicable: the store of driver {self.driver.name} lacks {fact}")

    async def stop(self) -> None:
        """Close the stores, then the drivers."""
        for store in self._stores:
            await store.close()
        await super().stop()

    async def open_store(self, driver: Driver | None = None, name: str = NAME) -> Store:
        """One more open object for the store of this name."""
        store = (driver or self.driver).store(name)
        self._stores.append(store)
        await store.open()
        return store

    async def another_store(self, name: str = NAME) -> Store:
        """The store as another process has it; where only one process can have it, another object of this one."""
        return await self.open_store(await self.stranger() if self.store.facts.multi_process else None, name)

    def closes(self, driver: Driver) -> None:
        """Close this driver too when the case ends."""
        self._drivers.append(driver)

    async def restart(self) -> None:
        """Close everything, restart the broker, and open the rig's own store again."""
        await self.store.close()
        for driver in self._drivers:
            await driver.close()
        await self.suite.restart(self.place)
        await self.driver.open()
        await self.store.open()

    @property
    def term(self) -> float:
        """A ttl or a lease that a case can let pass, in seconds."""
        return max(self.long, self.store.facts.shortest_lease)

    @property
    def far(self) -> float:
        """A ttl or a lease that does not end during a case, in seconds."""
        return self.term * 100 + 60

    async def outlast(self, seconds: float) -> None:
        """Let so much time pass by the store's clock that a key written before with this ttl is gone."""
        seconds = max(seconds, self.store.facts.shortest_lease) + self.store.facts.expiry_margin
        await self.until(await self.store.time() + seconds)

    async def until(self, moment: float) -> None:
        """Let time pass until the store's clock shows a moment: at once where the store takes a clock."""
        while (left := moment - await self.store.time()) > 0:
            await self.advance(left + 1e-4 if self.suite.takes_clock else min(left + 1e-3, 0.5))

    async def put(self, *keys: str, store: Store | None = None, **options: Any) -> dict[str, int]:
        """Write many entries, whose values are their keys; returns their versions."""
        versions: dict[str, int] = {}
        for start in range(0, len(keys), 50):
            part = keys[start : start + 50]
            answers = await asyncio.gather(*((store or self.store).put(key, key.encode(), **options) for key in part))
            versions.update(zip(part, answers, strict=True))
        return versions

    async def value(self, key: str) -> bytes | None:
        """The value under a key."""
        entry = await self.store.get(key)
        return entry and entry.value

    async def all(self, prefix: str = "", limit: int = 100, store: Store | None = None) -> list[Entry]:
        """All entries, page by page."""
        found: list[Entry] = []
        after = ""
        while True:
            page = await (store or self.store).list(prefix, after=after, limit=limit)
            assert len(page.entries) <= limit, f"a page of {limit} has {len(page.entries)} entries"
            found += page.entries
            if not page.cursor:
                return found
            assert page.cursor > after, f"the cursor {page.cursor!r} does not come after {after!r}"
            after = page.cursor


async def conflict(asked: Awaitable[object]) -> None:
    """The verb must raise ConflictError."""
    try:
        answer = await asked
    except ConflictError:
        return
    raise AssertionError(f"ConflictError expected, and {answer!r} was returned")


async def answer_of(asked: Awaitable[Any]) -> Any:
    """What a verb returns, or the DriverError that it raises."""
    try:
        return await asked
    except DriverError as error:
        return error


class Reader:
    """Reads a watch for the time of a block, and holds each change against clause 12."""

    def __init__(self, rig: StoreRig, prefix: str = "", store: Store | None = None) -> None:
        self.changes: list[Change] = []
        self.before: int | None = None
        """How many changes came before ``CURRENT``; None: it has not come."""
        self.values: dict[str, bytes] = {}
        """What the store has by what the watch has said."""
        self._patience = rig.suite.patience
        self._watch = (store or rig.store).watch(prefix)
        self._versions: dict[str, int] = {}
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._read())

    async def __aenter__(self) -> Reader:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        was_over = self._task.done()
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._watch.aclose()  # type: ignore[attr-defined]  # watches are generators
        if was_over and problem is None:
            self._task.result()

    @property
    def is_over(self) -> bool:
        """The watch has ended."""
        return self._task.done()

    async def _read(self) -> None:
        try:
            async for change in self._watch:
                self._take(change)
                self._news.set()
        finally:
            self._news.set()

    def _take(self, change: Change | Literal[Current.CURRENT]) -> None:
        if change is CURRENT:
            assert self.before is None, "CURRENT came twice"
            self.before = len(self.changes)
            return
        assert isinstance(change, Change), f"a watch gave {change!r}"
        known = self._versions.get(change.key, 0)
        assert change.version >= known, f"version {change.version} of {change.key!r} came after {known}"
        self._versions[change.key] = change.version
        self.changes.append(change)
        if change.value is None:
            self.values.pop(change.key, None)
        else:
            self.values[change.key] = change.value

    def forget_versions(self) -> None:
        """The broker may lose its last writes from here on, so versions may fall once (34)."""
        self._versions.clear()

    async def until(self, condition: Callable[[], bool], what: str, patience: float | None = None) -> None:
        """Read until a condition holds, within the suite's patience; ``what`` says what has not come."""
        try:
            async with asyncio.timeout(patience or self._patience):
                while not condition():
                    if self.is_over:
                        self._task.result()
                        raise AssertionError(f"the watch ended before this: {what}")
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"not seen: {what}; the last changes were {self.changes[-3:]}") from None

    async def current(self) -> None:
        """Read until CURRENT."""
        await self.until(lambda: self.before is not None, "CURRENT")

    async def has(self, values: dict[str, bytes], patience: float | None = None) -> None:
        """Read until the watch has reported just these entries."""
        await self.until(lambda: self.values == values, f"the {len(values)} entries of the store", patience)

    async def ended(self) -> None:
        """The watch must end, without an error."""
        done, _ = await asyncio.wait([self._task], timeout=self._patience)
        assert done, "the watch has not ended"
        self._task.result()


def has(facts: StoreFacts, fact: str) -> bool:
    """Whether a store claims the fact."""
    return facts.durability != "memory" if fact == "durable" else bool(getattr(facts, fact))
