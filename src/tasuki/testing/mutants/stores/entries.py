"""Mutants of entries: values, versions, ttl and pages; one by one, and several together."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Sequence
from unicodedata import normalize

from tasuki.clock import Clock
from tasuki.contracts.driver import Driver
from tasuki.contracts.state.store import MAX_KEY_BYTES, MAX_PAGE, Entry, Page, Store
from tasuki.errors import ConflictError, DriverError, StoreLimitError
from tasuki.testing.mutants.mutant import MutantTable, StoreMutant

_TABLE = MutantTable(__name__, StoreMutant)
put, put_all = _TABLE.instead("put"), _TABLE.instead("put_all")

put(
    "VersionZeroOverwrites",
    "test_04_version_0_writes_only_an_absent_key",
    lambda real, key, value, *, ttl=None, version=None: real.put(key, value, ttl=ttl, version=version or None),
)
put(
    "ValuesAreText",
    "test_02_values_come_back_byte_for_byte",
    lambda real, key, value, **options: real.put(key, value.decode(errors="replace").encode(), **options),
)
put(
    "LongKeysAreCut",
    "test_25_a_key_that_no_store_takes_is_refused",
    lambda real, key, value, **options: real.put(key[: MAX_KEY_BYTES // 4], value, **options),
)
put(
    "TtlIsCutShort",
    "test_08_keys_are_gone_by_their_ttl_and_never_before",
    lambda real, key, value, *, ttl=None, version=None: real.put(key, value, ttl=ttl and ttl * 0.8, version=version),
)
put(
    "AKeyOutlivesItsTtl",
    "test_08_keys_are_gone_by_their_ttl_and_never_before",
    lambda real, key, value, *, ttl=None, version=None: real.put(
        key, value, ttl=ttl and ttl * 1.3 + real.facts.expiry_margin, version=version
    ),
)
_TABLE.instead("delete")(
    "DeleteIgnoresTheVersion",
    "test_07_a_delete_with_another_version_changes_nothing",
    lambda real, key, *, version=None: real.delete(key),
)
_TABLE.answer("delete")("DeleteAlwaysFindsTheKey", "test_07_delete_says_whether_the_key_was_there", lambda found: True)
put_all(
    "PutAllWritesAPart",
    "test_33_a_full_page_and_none_at_all",
    lambda real, entries, *, ttl=None: real.put_all(entries[: MAX_PAGE // 2], ttl=ttl),
)
put_all(
    "PutAllKeepsTheFirstValue",
    "test_33_the_last_value_of_a_key_holds",
    lambda real, entries, *, ttl=None: real.put_all(list(dict(reversed(entries)).items()), ttl=ttl),
)
put_all("PutAllForgetsTheTtl", "test_33_all_have_the_ttl", lambda real, entries, *, ttl=None: real.put_all(entries))


class AVersionPerKeyBeginsAtOne(StoreMutant):
    noticed_by = ("test_03_versions_rise_over_deletion",)

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner, clock)
        self._puts: Counter[str] = Counter()

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        await self.inner.put(key, value, ttl=ttl, version=version)
        self._puts[key] += 1
        return self._puts[key]

    async def delete(self, key: str, *, version: int | None = None) -> bool:
        self._puts.pop(key, None)
        return await self.inner.delete(key, version=version)


class PutComparesTheValue(StoreMutant):
    noticed_by = ("test_05_a_value_that_was_there_before_has_another_version",)

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner, clock)
        self._values: dict[int, bytes] = {}

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        found = await self.get(key)
        if version and found and self._values.get(version) == found.value:
            version = found.version
        written = await self.inner.put(key, value, ttl=ttl, version=version)
        self._values[written] = value
        return written


class AConflictWritesAnyway(StoreMutant):
    noticed_by = ("test_05_a_put_with_another_version_changes_nothing",)

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        try:
            return await self.inner.put(key, value, ttl=ttl, version=version)
        except ConflictError:
            await self.inner.put(key, value, ttl=ttl)
            raise


class ComparesAndWritesInTwoSteps(StoreMutant):
    noticed_by = ("test_06_of_concurrent_puts_on_one_version_one_succeeds",)

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        found = await self.get(key)
        await asyncio.sleep(0.001)
        if version is not None and version != (found.version if found else 0):
            raise ConflictError("another version", driver=self.driver)
        return await self.inner.put(key, value, ttl=ttl)


class RetriesAndCallsItsOwnWriteAConflict(StoreMutant):
    noticed_by = ("test_26_a_put_that_is_cut_short_at_any_answer_is_no_conflict",)

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        try:
            return await self.inner.put(key, value, ttl=ttl, version=version)
        except DriverError as error:
            if error.outcome != "unknown":
                raise
            return await self.inner.put(key, value, ttl=ttl, version=version)


class CallsALostPutRejected(StoreMutant):
    noticed_by = (
        "test_26_a_get_by_version_settles_a_put_without_an_answer",
        "test_26_a_put_that_is_cut_short_at_any_answer_is_no_conflict",
    )

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        try:
            return await self.inner.put(key, value, ttl=ttl, version=version)
        except DriverError as error:
            error.outcome = "rejected"
            raise


class NamesShareTheirKeys(StoreMutant):
    noticed_by = ("test_31_stores_of_other_names_share_nothing",)

    @classmethod
    def of(cls, driver: Driver, name: str, clock: Clock) -> Store:
        return cls(driver.store("one"), clock)


class KeysAreNormalized(StoreMutant):
    noticed_by = ("test_02_no_character_of_a_key_means_anything",)

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        return await self.inner.put(normalize("NFC", key), value, ttl=ttl, version=version)

    async def get(self, key: str) -> Entry | None:
        return await self.inner.get(normalize("NFC", key))


class ReadsAreOld(StoreMutant):
    """As a replica that lags behind."""

    noticed_by = ("test_11_every_get_and_list_sees_a_put_that_has_returned",)

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner, clock)
        self._old: dict[str, Entry | None] = {}

    async def get(self, key: str) -> Entry | None:
        found = await self.inner.get(key)
        old, self._old[key] = self._old.get(key, found), found
        return old


class AnExpiredKeyBlocksVersionZero(StoreMutant):
    noticed_by = ("test_04_an_expired_key_is_absent",)

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner, clock)
        self._mortal: set[str] = set()

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        if version == 0 and key in self._mortal:
            raise ConflictError("it is there, though not to be seen", driver=self.driver)
        if ttl:
            self._mortal.add(key)
        return await self.inner.put(key, value, ttl=ttl, version=version)


class AnExpiredKeyIsListed(StoreMutant):
    noticed_by = ("test_10_an_expired_key_is_in_no_page",)

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner, clock)
        self._mortal: dict[str, Entry] = {}

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        written = await self.inner.put(key, value, ttl=ttl, version=version)
        if ttl:
            self._mortal[key] = Entry(key, value, written)
        return written

    async def list(self, prefix: str = "", *, after: str = "", limit: int = 100) -> Page:
        found = {entry.key: entry for entry in await self.entries(prefix)}
        found.update((key, entry) for key, entry in self._mortal.items() if key.startswith(prefix))
        keys = sorted(key for key in found if key > after)
        return Page([found[key] for key in keys[:limit]], keys[limit - 1] if len(keys) > limit else "")


class TtlByTheCallersClock(StoreMutant):
    """As a client that sends the moment of the end, by a clock which is not the store's."""

    noticed_by = ("test_08_another_clock_than_the_stores_does_not_matter",)

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        if ttl is not None:
            now, given = await self.time(), self.clock.time()
            off = (given if abs(given - now) > 1 else time.time()) - now
            ttl = max(ttl + off, 0.001)
        return await self.inner.put(key, value, ttl=ttl, version=version)


class PutKeepsTheOldTtl(StoreMutant):
    noticed_by = ("test_09_each_put_sets_the_ttl_again",)

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner, clock)
        self._ends: dict[str, float] = {}

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        now = await self.time()
        if ttl:
            self._ends[key] = now + ttl
        return await self.inner.put(key, value, ttl=self._ends.get(key, now) - now or None, version=version)


class VersionsComeAgainAfterARestore(StoreMutant):
    """Takes any version that this process has got for the key, as a counter that was put back would."""

    noticed_by = ("test_34_a_version_from_before_changes_nothing_that_was_written_afterwards",)

    def __init__(self, inner: Store, clock: Clock) -> None:
        super().__init__(inner, clock)
        self._given: set[tuple[str, int]] = set()

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        is_ours = version is not None and (key, version) in self._given
        given = await self.inner.put(key, value, ttl=ttl, version=None if is_ours else version)
        self._given.add((key, given))
        return given


class TheKeyAtTheCursorIsSkipped(StoreMutant):
    """The cursor is the first key of the next page, and the page comes after it."""

    noticed_by = ("test_10_the_cursor_meets_each_key_once",)

    async def list(self, prefix: str = "", *, after: str = "", limit: int = 100) -> Page:
        page = await self.inner.list(prefix, after=after, limit=min(limit + 1, MAX_PAGE))
        if len(page.entries) <= limit:
            return page
        return Page(page.entries[:limit], page.entries[limit].key)


class KeysInTheOrderOfUtf16(StoreMutant):
    noticed_by = ("test_10_entries_come_in_the_order_of_their_keys",)

    async def list(self, prefix: str = "", *, after: str = "", limit: int = 100) -> Page:
        found = sorted(await self.entries(prefix), key=lambda entry: entry.key.encode("utf-16-be"))
        start = next((n + 1 for n, entry in enumerate(found) if entry.key == after), 0)
        more = len(found) > start + limit
        return Page(found[start : start + limit], found[start + limit - 1].key if more else "")


class AnUnderscoreIsAnyCharacter(StoreMutant):
    noticed_by = ("test_10_no_character_of_a_prefix_means_anything",)
    wildcard, means = "_", "."

    async def list(self, prefix: str = "", *, after: str = "", limit: int = 100) -> Page:
        if self.wildcard not in prefix:
            return await self.inner.list(prefix, after=after, limit=limit)
        pattern = re.compile(re.escape(prefix).replace(re.escape(self.wildcard), self.means), re.DOTALL)
        found = [entry for entry in await self.entries() if entry.key > after and pattern.match(entry.key)]
        return Page(found[:limit], found[limit - 1].key if len(found) > limit else "")


_TABLE.variant(
    AnUnderscoreIsAnyCharacter,
    "APercentSignIsAnyText",
    "test_10_no_character_of_a_prefix_means_anything",
    wildcard="%",
    means=".*",
)
_TABLE.variant(
    AnUnderscoreIsAnyCharacter,
    "AnAsteriskIsAnyText",
    "test_10_no_character_of_a_prefix_means_anything",
    wildcard="*",
    means=".*",
)


class PutAllWritesUntilOneIsTooLarge(StoreMutant):
    noticed_by = ("test_33_one_that_is_too_large_lets_none_be_written",)

    async def put_all(self, entries: Sequence[tuple[str, bytes]], *, ttl: float | None = None) -> None:
        try:
            await self.inner.put_all(entries, ttl=ttl)
        except StoreLimitError:
            for key, value in entries:
                await self.put(key, value, ttl=ttl)


class PutAllWritesOnlyNewKeys(StoreMutant):
    noticed_by = ("test_33_each_entry_is_written",)

    async def put_all(self, entries: Sequence[tuple[str, bytes]], *, ttl: float | None = None) -> None:
        await self.inner.put_all([(key, value) for key, value in entries if await self.get(key) is None], ttl=ttl)
