"""Mutants of entries that are written together."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

from collections.abc import Sequence

from tasuki.contracts.state.store import MAX_PAGE
from tasuki.errors import StoreLimitError
from tasuki.testing.mutants.stores.mutant import StoreMutant


class PutAllWritesAPart(StoreMutant):
    noticed_by = ("test_33_a_full_page_and_none_at_all",)

    async def put_all(self, entries: Sequence[tuple[str, bytes]], *, ttl: float | None = None) -> None:
        await super().put_all(entries[: MAX_PAGE // 2], ttl=ttl)


class PutAllKeepsTheFirstValue(StoreMutant):
    noticed_by = ("test_33_the_last_value_of_a_key_holds",)

    async def put_all(self, entries: Sequence[tuple[str, bytes]], *, ttl: float | None = None) -> None:
        await super().put_all(list(dict(reversed(entries)).items()), ttl=ttl)


class PutAllForgetsTheTtl(StoreMutant):
    noticed_by = ("test_33_all_have_the_ttl",)

    async def put_all(self, entries: Sequence[tuple[str, bytes]], *, ttl: float | None = None) -> None:
        await super().put_all(entries)


class PutAllWritesUntilOneIsTooLarge(StoreMutant):
    noticed_by = ("test_33_one_that_is_too_large_lets_none_be_written",)

    async def put_all(self, entries: Sequence[tuple[str, bytes]], *, ttl: float | None = None) -> None:
        try:
            await super().put_all(entries, ttl=ttl)
        except StoreLimitError:
            for key, value in entries:
                await self.put(key, value, ttl=ttl)


class PutAllWritesOnlyNewKeys(StoreMutant):
    noticed_by = ("test_33_each_entry_is_written",)

    async def put_all(self, entries: Sequence[tuple[str, bytes]], *, ttl: float | None = None) -> None:
        await super().put_all([(key, value) for key, value in entries if await self.get(key) is None], ttl=ttl)
