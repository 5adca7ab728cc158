"""The cases of lost connections and lost answers, at a store of memory that is far away; the suite's own proof."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tasuki.contracts.state.store import Store
from tasuki.testing.conformance import ShiftedClock
from tasuki.testing.conformance.stores import StoreConformance
from tests.support.far_memory import FarMemoryDriver, FarMemoryStore, link_of


class TestFarMemoryStore(StoreConformance):
    def make_driver(self, place: Path, clock: ShiftedClock) -> FarMemoryDriver:
        return FarMemoryDriver(place, clock)

    def detour(self, place: Path) -> Path:
        return place / "detour" / place.name

    async def kill(self, place: Path) -> None:
        """Whatever was confirmed is there still."""

    @asynccontextmanager
    async def full(self, store: Store) -> AsyncIterator[None]:
        assert isinstance(store, FarMemoryStore)
        shelf = store.inner._shelf
        most, shelf.max_entries = shelf.max_entries, len(shelf.items)
        try:
            yield
        finally:
            shelf.max_entries = most

    @asynccontextmanager
    async def broken(self, place: Path) -> AsyncIterator[None]:
        with link_of(place).failing("refused"):
            yield

    @asynccontextmanager
    async def silent(self, place: Path) -> AsyncIterator[None]:
        with link_of(place).failing("silent"):
            yield

    @asynccontextmanager
    async def unanswered(self, place: Path) -> AsyncIterator[None]:
        with link_of(place).failing("unanswered"):
            yield

    @asynccontextmanager
    async def cut_short(self, place: Path, answers: int) -> AsyncIterator[Callable[[], bool]]:
        link = link_of(place)
        link.answers = answers
        try:
            yield lambda: link.answers is None
        finally:
            link.answers = None
