"""Clauses 1 to 7: values, keys and versions, and conditions on versions."""

from __future__ import annotations

import asyncio
import os
from itertools import pairwise

from tasuki.contracts.state.store import MAX_KEY_BYTES, MAX_PAGE, Entry
from tasuki.errors import ConflictError, StoreLimitError
from tasuki.testing.conformance.rig import case
from tasuki.testing.conformance.stores.rig import Reader, StoreRig, StoreSuite, answer_of, conflict

HOSTILE = (
    *("a", "A", "á", "a\u0301", "aa", "a ", " a", "a/", "a/b", "a//b", "/a", "a.b", "a:b", "a\x01", "a\n", "a\tb"),
    *("*", ">", ".", "..", "?", "%", "_", "\\", "\\%", "[a]", "{a}", "{}", "$", "#", "'", '"', "''", ";--", "`"),
    *("0", "00", "1.0", "1e3", "None", "null", "ß", "ss", "İ", "日本", "日本語", "\uffff", "\U0001f600", "\u202e", "~"),
    *("x" * MAX_KEY_BYTES, "x" * (MAX_KEY_BYTES - 1), "語" * (MAX_KEY_BYTES // 3)),
)
"""Keys of which some part means something to some broker."""


class Entries(StoreSuite):
    """Entries one by one and several together, and how long they are there."""

    @case()
    async def test_01_an_absent_key_has_no_entry(self, rig: StoreRig) -> None:
        assert await rig.store.get("absent") is None

    @case()
    async def test_01_get_returns_value_and_version_of_the_last_put(self, rig: StoreRig) -> None:
        for value in (b"first", b"second", b"", b"second"):
            version = await rig.store.put("key", value)
            assert await rig.store.get("key") == Entry("key", value, version)

    @case()
    async def test_01_a_deleted_key_has_no_entry(self, rig: StoreRig) -> None:
        await rig.put("gone", "stays")
        await rig.store.delete("gone")
        assert await rig.store.get("gone") is None
        assert await rig.value("stays") == b"stays"

    @case()
    async def test_02_values_come_back_byte_for_byte(self, rig: StoreRig) -> None:
        largest = os.urandom(rig.store.facts.max_value_bytes)
        for value in (b"", b"\0", bytes(range(256)), b"\xff\xfe", b"nil", b'{"a": 1}\r\n', largest):
            await rig.store.put("key", value)
            found = await rig.store.get("key")
            assert found is not None
            assert type(found.value) is bytes
            assert found.value == value, f"a value of {len(value)} bytes has changed"

    @case()
    async def test_02_no_character_of_a_key_means_anything(self, rig: StoreRig) -> None:
        await rig.put(*HOSTILE)
        for key in HOSTILE:
            found = await rig.store.get(key)
            assert found is not None, f"key {key!r} is not there"
            assert (found.key, found.value) == (key, key.encode())
        assert [entry.key for entry in await rig.all(limit=1000)] == sorted(HOSTILE)

    @case()
    async def test_02_a_delete_takes_no_key_that_looks_alike(self, rig: StoreRig) -> None:
        await rig.put(*HOSTILE)
        for number, key in enumerate(HOSTILE):
            assert await rig.store.delete(key), f"key {key!r} is not there"
            left = await rig.all(limit=1000)
            assert len(left) == len(HOSTILE) - number - 1, f"the delete of {key!r} took others with it"

    @case()
    async def test_03_versions_rise(self, rig: StoreRig) -> None:
        versions = [await rig.store.put(key, b"") for key in ("a", "b", "a", "a", "c", "b")]
        assert versions[0] > 0
        _rise(versions)

    @case()
    async def test_03_versions_rise_over_deletion(self, rig: StoreRig) -> None:
        versions = [await rig.store.put("a", b"")]
        for number in range(3):
            await rig.store.delete("a")
            versions.append(await rig.store.put("a", b"", version=0 if number else None))
        _rise(versions)

    @case()
    async def test_03_versions_rise_over_expiry(self, rig: StoreRig) -> None:
        versions = [await rig.store.put("a", b"", ttl=rig.term)]
        await rig.outlast(rig.term)
        versions += [await rig.store.put("a", b"", version=0), await rig.store.put("a", b"")]
        _rise(versions)

    @case("durable")
    async def test_03_versions_rise_over_a_restart(self, rig: StoreRig) -> None:
        versions = [await rig.store.put(key, b"") for key in ("a", "b", "b")]
        await rig.store.delete("b")
        await rig.restart()
        versions += [await rig.store.put(key, b"") for key in ("b", "c", "a")]
        _rise(versions)

    @case()
    async def test_03_versions_rise_over_a_close(self, rig: StoreRig) -> None:
        versions = [await rig.store.put(key, b"") for key in ("a", "b", "b")]
        await rig.store.delete("b")
        await rig.store.close()
        await rig.store.open()
        versions += [await rig.store.put("b", b"", version=0), await rig.store.put("c", b"")]
        _rise(versions)

    @case()
    async def test_04_version_0_writes_only_an_absent_key(self, rig: StoreRig) -> None:
        version = await rig.store.put("key", b"first", version=0)
        await conflict(rig.store.put("key", b"second", version=0))
        assert await rig.store.get("key") == Entry("key", b"first", version)
        await rig.store.delete("key")
        assert await rig.store.put("key", b"third", version=0) > version
        assert await rig.value("key") == b"third"

    @case()
    async def test_04_an_expired_key_is_absent(self, rig: StoreRig) -> None:
        await rig.store.put("key", b"first", ttl=rig.term)
        await conflict(rig.store.put("key", b"second", version=0))
        await rig.outlast(rig.term)
        await rig.store.put("key", b"third", version=0)
        assert await rig.value("key") == b"third"

    @case()
    async def test_05_a_put_with_the_version_writes(self, rig: StoreRig) -> None:
        version = await rig.store.put("key", b"0")
        await rig.store.put("other", b"")
        for number in range(1, 4):
            version = await rig.store.put("key", b"%d" % number, version=version)
        assert await rig.store.get("key") == Entry("key", b"3", version)

    @case()
    async def test_05_a_put_with_another_version_changes_nothing(self, rig: StoreRig) -> None:
        old = await rig.store.put("key", b"old")
        version = await rig.store.put("key", b"new")
        for wrong in (old, version + 1, version + 1000, 2**53):
            await conflict(rig.store.put("key", b"wrong", version=wrong))
            assert await rig.store.get("key") == Entry("key", b"new", version)
        await rig.store.put("key", b"newest", version=version)

    @case()
    async def test_05_a_value_that_was_there_before_has_another_version(self, rig: StoreRig) -> None:
        version = await rig.store.put("key", b"same")
        await rig.store.put("key", b"other")
        await rig.store.put("key", b"same")
        await conflict(rig.store.put("key", b"wrong", version=version))

    @case()
    async def test_05_the_version_of_an_absent_key_is_none(self, rig: StoreRig) -> None:
        version = await rig.store.put("key", b"")
        await conflict(rig.store.put("absent", b"wrong", version=version))
        assert await rig.store.get("absent") is None
        await rig.store.delete("key")
        await conflict(rig.store.put("key", b"wrong", version=version))
        assert await rig.store.get("key") is None
        await rig.store.put("key", b"again")
        await conflict(rig.store.put("key", b"wrong", version=version))
        assert await rig.value("key") == b"again"

    @case()
    async def test_05_a_conflict_leaves_the_ttl(self, rig: StoreRig) -> None:
        version = await rig.store.put("key", b"", ttl=rig.term)
        await conflict(rig.store.put("key", b"", version=version + 1))
        await rig.outlast(rig.term)
        assert await rig.store.get("key") is None

    @case()
    async def test_06_of_concurrent_puts_on_one_version_one_succeeds(self, rig: StoreRig) -> None:
        stores = [rig.store, await rig.another_store()]
        for version in (0, await rig.store.put("there", b"")):
            key = "there" if version else "new"
            asked = (stores[n % 2].put(key, b"%d" % n, version=version) for n in range(16))
            answers = await asyncio.gather(*asked, return_exceptions=True)
            won = {n: answer for n, answer in enumerate(answers) if isinstance(answer, int)}
            assert len(won) == 1, f"{len(won)} puts on version {version} succeeded"
            assert all(isinstance(answer, ConflictError) for n, answer in enumerate(answers) if n not in won), answers
            ((number, new),) = won.items()
            assert await rig.store.get(key) == Entry(key, b"%d" % number, new)

    @case()
    async def test_06_no_rise_of_a_counter_is_lost(self, rig: StoreRig) -> None:
        stores = [rig.store, await rig.another_store()]
        await rig.store.put("counter", b"0")

        async def rise(worker: int) -> None:
            store, done = stores[worker % 2], 0
            while done < 25:
                found = await store.get("counter")
                assert found is not None
                try:
                    await store.put("counter", b"%d" % (int(found.value) + 1), version=found.version)
                except ConflictError:
                    await asyncio.sleep(0)
                else:
                    done += 1

        await asyncio.gather(*map(rise, range(8)))
        assert await rig.value("counter") == b"200"

    @case()
    async def test_07_delete_says_whether_the_key_was_there(self, rig: StoreRig) -> None:
        assert await rig.store.delete("key") is False
        await rig.put("key", "stays")
        assert await rig.store.delete("key") is True
        assert await rig.store.delete("key") is False
        assert await rig.value("stays") == b"stays"

    @case()
    async def test_07_a_delete_with_another_version_changes_nothing(self, rig: StoreRig) -> None:
        old = await rig.store.put("key", b"old")
        version = await rig.store.put("key", b"new")
        for wrong in (old, version + 1):
            await conflict(rig.store.delete("key", version=wrong))
            assert await rig.store.get("key") == Entry("key", b"new", version)
        await conflict(rig.store.delete("absent", version=version))
        assert await rig.store.delete("key", version=version) is True
        assert await rig.store.get("key") is None

    @case()
    async def test_07_of_concurrent_deletes_one_finds_the_key(self, rig: StoreRig) -> None:
        stores = [rig.store, await rig.another_store()]
        await rig.put("key")
        assert sum(await asyncio.gather(*(stores[n % 2].delete("key") for n in range(10)))) == 1

    @case()
    async def test_08_keys_are_gone_by_their_ttl_and_never_before(self, rig: StoreRig) -> None:
        facts, store = rig.store.facts, rig.store
        latest: dict[str, float] = {}
        earliest: dict[str, float] = {}
        for number in range(20):
            ttl, key = rig.term * (0.7 + number / 40), f"key-{number:02d}"
            earliest[key] = await store.time() + ttl
            await store.put(key, b"", ttl=ttl)
            latest[key] = await store.time() + max(ttl, facts.shortest_lease) + facts.expiry_margin
        checks = 0
        while earliest:
            for key in list(earliest):
                before = await store.time()
                is_there = await store.get(key) is not None
                after = await store.time()
                assert is_there or after >= earliest[key], f"gone {earliest[key] - after:.3f} s too early"
                assert not is_there or before < latest[key], f"there {before - latest[key]:.3f} s after its end"
                if not is_there:
                    del earliest[key]
            checks += 1
            await rig.advance(rig.term / 50)
        assert checks > 1

    @case()
    async def test_08_an_expired_key_is_gone_for_every_verb(self, rig: StoreRig) -> None:
        keys = [f"key-{number}" for number in range(8)]
        versions = await rig.put(*keys, ttl=rig.term)
        await rig.put("stays")
        await rig.outlast(rig.term)
        store = rig.store
        assert [entry.key for entry in await rig.all()] == ["stays"]
        async with Reader(rig) as reader:
            await reader.current()
            assert list(reader.values) == ["stays"]
        assert await store.get(keys[0]) is None
        assert await store.delete(keys[1]) is False
        await conflict(store.delete(keys[2], version=versions[keys[2]]))
        await conflict(store.put(keys[3], b"", version=versions[keys[3]]))
        version = await store.put(keys[4], b"new", version=0)
        assert await store.get(keys[4]) == Entry(keys[4], b"new", version)
        assert [entry.key for entry in await rig.all()] == [keys[4], "stays"]

    @case()
    async def test_08_another_clock_than_the_stores_does_not_matter(self, rig: StoreRig) -> None:
        """The clock of the process, or the driver's where that is not the store's, is ten minutes off."""
        for seconds in (600.0, -1200.0):
            rig.clock.advance(seconds)
            before = await rig.store.time()
            await rig.store.put("short", b"", ttl=rig.term)
            await rig.store.put("long", b"", ttl=rig.far)
            assert await rig.store.get("short") or await rig.store.time() >= before + rig.term, "gone at once"
            await rig.outlast(rig.term)
            assert await rig.store.get("short") is None, "there after its end"
            assert await rig.store.get("long") or await rig.store.time() >= before + rig.far, "gone too early"

    @case()
    async def test_09_each_put_sets_the_ttl_again(self, rig: StoreRig) -> None:
        store, before = rig.store, await rig.store.time()
        for key, first, second in (
            ("renewed", rig.term, rig.far),
            ("shortened", rig.far, rig.term),
            ("removed", rig.term, None),
            ("given", None, rig.term),
        ):
            await store.put(key, b"", ttl=first)
            await store.put(key, b"", ttl=second)
        await rig.outlast(rig.term)
        expected = ["removed", "renewed"] if await store.time() < before + rig.far else ["removed"]
        assert [entry.key for entry in await rig.all()] == expected

    @case()
    async def test_09_a_put_with_the_version_sets_the_ttl_too(self, rig: StoreRig) -> None:
        store = rig.store
        version = await store.put("removed", b"", version=0, ttl=rig.term)
        await store.put("removed", b"", version=version)
        version = await store.put("given", b"", version=0)
        await store.put("given", b"", version=version, ttl=rig.term)
        await rig.outlast(rig.term)
        assert [entry.key for entry in await rig.all()] == ["removed"]

    @case()
    async def test_33_each_entry_is_written(self, rig: StoreRig) -> None:
        old = await rig.store.put("a", b"old")
        values = {key: os.urandom(len(key) % 7) for key in HOSTILE}
        await rig.store.put_all(list(values.items()))
        found = await rig.all(limit=MAX_PAGE)
        assert {entry.key: entry.value for entry in found} == values
        assert all(entry.version > old for entry in found)
        assert len({entry.version for entry in found}) == len(found)

    @case()
    async def test_33_a_full_page_and_none_at_all(self, rig: StoreRig) -> None:
        await rig.store.put_all([])
        assert await rig.all() == []
        keys = [f"key/{number:04}" for number in range(MAX_PAGE)]
        await rig.store.put_all([(key, key.encode()) for key in keys])
        assert [(entry.key, entry.value) for entry in await rig.all(limit=MAX_PAGE)] == [
            (key, key.encode()) for key in keys
        ]

    @case()
    async def test_33_the_last_value_of_a_key_holds(self, rig: StoreRig) -> None:
        many = [("twice", b"%d" % number) for number in range(200)]
        await rig.store.put_all([*many, ("once", b""), ("twice", b"last")])
        assert await rig.value("twice") == b"last"

    @case()
    async def test_33_all_have_the_ttl(self, rig: StoreRig) -> None:
        await rig.store.put("kept", b"")
        await rig.store.put("renewed", b"", ttl=rig.term)
        await rig.store.put_all([("gone", b"1"), ("also gone", b"2")], ttl=rig.term)
        await rig.store.put_all([("renewed", b"3")])
        assert await rig.value("gone") == b"1"
        await rig.outlast(rig.term)
        assert [entry.key for entry in await rig.all()] == ["kept", "renewed"]

    @case()
    async def test_33_one_that_is_too_large_lets_none_be_written(self, rig: StoreRig) -> None:
        too_long, too_large = "x" * (MAX_KEY_BYTES + 1), bytes(rig.store.facts.max_value_bytes + 1)
        for key, value in ((too_long, b""), ("large", too_large)):
            answer = await answer_of(rig.store.put_all([("first", b""), (key, value)]))
            assert isinstance(answer, StoreLimitError), answer
        assert await rig.all() == []

    @case()
    async def test_33_a_watch_reports_each(self, rig: StoreRig) -> None:
        async with Reader(rig, "several/") as reader:
            await reader.current()
            await rig.store.put_all([("several/1", b"1"), ("other", b""), ("several/2", b"2")])
            await reader.has({"several/1": b"1", "several/2": b"2"})


def _rise(versions: list[int]) -> None:
    assert all(before < after for before, after in pairwise(versions)), f"versions {versions} do not rise"
