"""Clauses 10 to 14, 16 and 31: pages of entries, the changes that a watch gives, and stores of several names."""

from __future__ import annotations

import asyncio
from itertools import count

from tasuki.contracts.state.store import CURRENT, MAX_PAGE, Change, Entry, Store
from tasuki.testing.conformance.rig import case
from tasuki.testing.conformance.stores.entries import HOSTILE
from tasuki.testing.conformance.stores.rig import Reader, StoreRig, StoreSuite

_POLL = 1.0
"""Seconds within which a watch reports a change (14)."""

_PUSH = 0.2

_TRIES = 8


class Watching(StoreSuite):
    """A watch reports all entries, then each change."""

    @case()
    async def test_12_first_the_entries_then_current_then_changes(self, rig: StoreRig) -> None:
        versions = await rig.put("a", "b")
        async with Reader(rig) as reader:
            await reader.current()
            expected = [Change(key, key.encode(), version) for key, version in versions.items()]
            assert sorted(reader.changes) == expected
            new = await rig.store.put("a", b"new")
            await reader.has({"a": b"new", "b": b"b"})
            assert reader.before == 2
            assert reader.changes[2:] == [Change("a", b"new", new)]

    @case()
    async def test_12_a_watch_of_an_empty_store_is_current(self, rig: StoreRig) -> None:
        async with Reader(rig) as reader:
            await reader.current()
            assert reader.changes == []
            await rig.put("first")
            await reader.has({"first": b"first"})

    @case()
    async def test_12_no_change_falls_between_the_entries_and_the_changes(self, rig: StoreRig) -> None:
        other = await rig.another_store()
        over = asyncio.Event()

        async def write(store: Store, start: int) -> None:
            for number in count(start):
                key = f"{number * 31 % 97:02d}-{start}"
                await (store.put(key, b"%d" % number) if number % 5 else store.delete(key))
                await asyncio.sleep(0)
                if over.is_set():
                    return

        writing = [asyncio.create_task(write(rig.store, 0)), asyncio.create_task(write(other, 1))]
        readers: list[Reader] = []
        try:
            for _ in range(10):
                readers.append(Reader(rig))
                await readers[-1].current()
        finally:
            over.set()
            await asyncio.gather(*writing)
        values = {entry.key: entry.value for entry in await rig.all()}
        for reader in readers:
            async with reader:
                await reader.has(values)

    @case()
    async def test_12_the_last_of_many_changes_comes(self, rig: StoreRig) -> None:
        stores = [rig.store, await rig.another_store()]
        async with Reader(rig) as reader:
            await reader.current()

            async def write(worker: int) -> None:
                for number in range(50):
                    await stores[worker % 2].put(f"own-{worker}", b"%d" % number)
                    await stores[worker % 2].put("shared", b"%d %d" % (worker, number))
                    if number % 10 == worker:
                        await stores[worker % 2].delete(f"own-{worker}")

            await asyncio.gather(*map(write, range(8)))
            await reader.has({entry.key: entry.value for entry in await rig.all()})

    @case()
    async def test_12_the_versions_of_a_key_never_fall(self, rig: StoreRig) -> None:
        stores = [rig.store, await rig.another_store()]
        async with Reader(rig) as reader:
            await reader.current()
            for number in range(20):
                value = b"%d" % number
                await stores[number % 2].put("key", value)
                await reader.has({"key": value})
                if number % 5 == 4:
                    await stores[number % 2].delete("key")
                    await reader.has({})

    @case()
    async def test_12_a_watch_tells_of_its_prefix_alone(self, rig: StoreRig) -> None:
        for prefix in ("a", "a/", "%", "_", "\\", "*", "日本", "[a]"):
            keys = {key for key in HOSTILE if key.startswith(prefix)}
            async with Reader(rig, prefix) as reader:
                await reader.current()
                await rig.put(*HOSTILE)
                await reader.has({key: key.encode() for key in keys})
                for key in HOSTILE:
                    await rig.store.delete(key)
                await reader.has({})
            assert {change.key for change in reader.changes} == keys

    @case()
    async def test_12_watches_do_not_disturb_each_other(self, rig: StoreRig) -> None:
        await rig.put("before")
        async with Reader(rig) as first, Reader(rig, store=await rig.another_store()) as second:
            await first.current()
            await second.current()
            async with Reader(rig) as third:
                await third.current()
            await rig.put("after")
            for reader in (first, second):
                await reader.has({"before": b"before", "after": b"after"})

    @case()
    async def test_13_a_deletion_is_reported(self, rig: StoreRig) -> None:
        versions = await rig.put("gone", "back", "stays")
        async with Reader(rig) as reader:
            await reader.current()
            await rig.store.delete("gone")
            await reader.has({"back": b"back", "stays": b"stays"})
            (change,) = reader.changes[3:]
            assert change.key == "gone"
            assert change.version >= versions["gone"]
            await rig.store.delete("back")
            await rig.store.put("back", b"again")
            await reader.has({"back": b"again", "stays": b"stays"})

    @case()
    async def test_13_an_expiry_is_reported(self, rig: StoreRig) -> None:
        await rig.put("known", ttl=rig.term)
        async with Reader(rig) as reader:
            await reader.current()
            await rig.put("new", "set", ttl=rig.term)
            await rig.put("stays")
            await rig.outlast(rig.term)
            await reader.has({"stays": b"stays"})
            await rig.store.put("known", b"again")
            await reader.has({"stays": b"stays", "known": b"again"})

    @case()
    async def test_13_no_expiry_of_a_key_whose_ttl_was_set_again_is_reported(self, rig: StoreRig) -> None:
        other = await rig.another_store()
        before = await rig.store.time()
        await rig.put("renewed", "kept", "removed", "ends", ttl=rig.term)
        async with Reader(rig) as reader:
            await reader.current()
            await other.put("renewed", b"renewed", ttl=rig.far)
            await other.put("kept", b"kept", ttl=rig.far)
            await other.put("removed", b"removed")
            await rig.outlast(rig.term)
            await rig.put("end")
            await reader.until(lambda: "end" in reader.values and "ends" not in reader.values, "the last change")
            gone = {change.key for change in reader.changes if change.value is None}
            assert gone <= {"ends"} or await rig.store.time() >= before + rig.far, f"reported as gone: {gone}"

    @case()
    async def test_14_a_change_is_reported_soon(self, rig: StoreRig) -> None:
        """A busy machine is slow at times, a store with a longer interval always: each put follows a report at once."""
        most, other = _PUSH if rig.store.facts.push else _POLL, await rig.another_store()
        took: list[float] = []
        loop = asyncio.get_running_loop()
        async with Reader(rig) as reader:
            await reader.current()
            for number in range(_TRIES):
                value = b"%d" % number
                await other.put("key", value)
                returned = loop.time()
                await reader.until(lambda: reader.values.get("key") == value, "a change")  # noqa: B023
                took.append(loop.time() - returned)
                if took[-1] <= most and number:
                    return
        raise AssertionError(f"each of {_TRIES} changes took more than {most} s: {min(took):.3f} to {max(took):.3f} s")

    @case()
    async def test_16_an_unread_watch_keeps_one_change_for_each_key(self, rig: StoreRig) -> None:
        keys = [f"key-{number}" for number in range(10)]
        await rig.put(*keys)
        watch = rig.store.watch()
        async for change in watch:
            if change is CURRENT:
                break
        for number in range(rig.suite.changes // len(keys)):
            await rig.put(*keys, ttl=rig.far if number % 2 else None)
        await rig.put("end")
        found: list[str] = []
        async with asyncio.timeout(rig.suite.patience):
            async for change in watch:
                assert isinstance(change, Change)
                found.append(change.key)
                if change.key == "end":
                    break
        await watch.aclose()  # type: ignore[attr-defined]  # watches are generators
        most = 2 * (len(keys) + 1)  # those kept, and those that the reader was about to get
        assert len(found) <= most, f"{len(found)} changes of {len(keys) + 1} keys were kept"

    @case()
    async def test_16_a_watch_that_its_reader_has_left_is_closed(self, rig: StoreRig) -> None:
        await rig.put("key")
        for _ in range(100):
            watch = rig.store.watch()
            assert await anext(watch) != CURRENT
            await watch.aclose()  # type: ignore[attr-defined]
        async with Reader(rig) as reader:
            await reader.current()
            await rig.put("new")
            await reader.has({"key": b"key", "new": b"new"})


NAMES = ("one", "One", "two", "app:one", "app:two", "app:one:two", "app")


class Listing(StoreSuite):
    """Many entries, and many stores."""

    @case()
    async def test_10_an_empty_store_has_an_empty_page(self, rig: StoreRig) -> None:
        page = await rig.store.list()
        assert (list(page.entries), page.cursor) == ([], "")

    @case()
    async def test_10_entries_come_in_the_order_of_their_keys(self, rig: StoreRig) -> None:
        keys = sorted({*HOSTILE, "\ud7ff", "\ue000", "\U00010000", "\U0010ffff", "Z", "a\u0300"})
        versions = await rig.put(*reversed(keys))
        expected = [Entry(key, key.encode(), versions[key]) for key in keys]
        for limit in (MAX_PAGE, 7, 1):
            assert await rig.all(limit=limit) == expected

    @case()
    async def test_10_the_cursor_meets_each_key_once(self, rig: StoreRig) -> None:
        many = rig.suite.entries
        keys = [f"{number * 7919 % many:06d}" for number in range(many)]
        await rig.put(*keys)
        assert [entry.key for entry in await rig.all(limit=7)] == sorted(keys)
        assert [entry.key for entry in await rig.all(limit=MAX_PAGE)] == sorted(keys)

    @case()
    async def test_10_a_page_has_no_more_than_the_limit(self, rig: StoreRig) -> None:
        await rig.put(*(f"{number:06d}" for number in range(MAX_PAGE + 10)))
        page = await rig.store.list(limit=MAX_PAGE + 5)
        assert len(page.entries) <= MAX_PAGE
        assert page.cursor, "a page that is not the last one has no cursor"
        rest = await rig.store.list(after=page.cursor, limit=MAX_PAGE)
        assert len(page.entries) + len(rest.entries) == MAX_PAGE + 10

    @case()
    async def test_10_a_last_page_that_is_full(self, rig: StoreRig) -> None:
        keys = [f"{number:02d}" for number in range(10)]
        await rig.put(*keys)
        for limit in (5, 10, 2):
            assert [entry.key for entry in await rig.all(limit=limit)] == keys

    @case()
    async def test_10_keys_that_were_there_all_the_time_are_seen_once(self, rig: StoreRig) -> None:
        stays = [f"{number:04d}/stays" for number in range(200)]
        comes = [f"{number:04d}/comes" for number in range(200)]
        await rig.put(*stays, *comes[::2])
        over = asyncio.Event()

        async def write() -> None:
            for number in count():
                if over.is_set():
                    return
                key = comes[number * 37 % 200]
                await (rig.store.delete(key) if number // 200 % 2 else rig.store.put(key, b""))
                await asyncio.sleep(0)

        writing = asyncio.create_task(write())
        try:
            for limit in (7, 50, 1):
                found = [entry.key for entry in await rig.all(limit=limit)]
                assert found == sorted(set(found)), "a key came twice, or out of order"
                assert [key for key in found if key.endswith("stays")] == stays
        finally:
            over.set()
            await writing

    @case()
    async def test_10_no_character_of_a_prefix_means_anything(self, rig: StoreRig) -> None:
        await rig.put(*HOSTILE)
        prefixes = {key[:length] for key in HOSTILE for length in (1, 2, 3)}
        for prefix in sorted(prefixes - {key for key in prefixes if "\0" in key}):
            found = [entry.key for entry in await rig.all(prefix, limit=5)]
            assert found == sorted(key for key in HOSTILE if key.startswith(prefix)), f"prefix {prefix!r}"

    @case()
    async def test_10_a_page_begins_after_any_text(self, rig: StoreRig) -> None:
        await rig.put("a1", "b1", "b2", "b3", "c1")

        async def after(text: str) -> list[str]:
            return [entry.key for entry in (await rig.store.list("b", after=text)).entries]

        assert await after("a") == await after("") == ["b1", "b2", "b3"]
        assert await after("b1") == await after("b10") == ["b2", "b3"]
        assert await after("b3") == await after("b\U0010ffff") == await after("c") == []

    @case()
    async def test_10_an_expired_key_is_in_no_page(self, rig: StoreRig) -> None:
        await rig.put(*(f"{number:03d}/ends" for number in range(30)), ttl=rig.term)
        stays = sorted(await rig.put(*(f"{number:03d}/stays" for number in range(0, 30, 3))))
        await rig.outlast(rig.term)
        for limit in (3, 100):
            assert [entry.key for entry in await rig.all(limit=limit)] == stays

    @case()
    async def test_11_every_get_and_list_sees_a_put_that_has_returned(self, rig: StoreRig) -> None:
        stores = [rig.store, await rig.another_store()]
        for number in range(200):
            writer, reader = stores[number % 2], stores[1 - number % 2]
            version = await writer.put("key", b"%d" % number)
            expected = Entry("key", b"%d" % number, version)
            assert await reader.get("key") == expected
            assert list((await reader.list("k")).entries) == [expected]
        assert await stores[0].delete("key")
        assert await stores[1].get("key") is None
        assert list((await stores[1].list()).entries) == []

    @case()
    async def test_31_stores_of_other_names_share_nothing(self, rig: StoreRig) -> None:
        stores = {name: await rig.open_store(name=name) for name in NAMES}
        for name, store in stores.items():
            await store.put("key", name.encode())
            await store.put("two:key", name.encode())
            assert (await store.take("bucket", 5, rate=1e-3, burst=5)).tokens == 5
            assert await store.hold("place", name, places=1, lease=rig.far) is not None
        for name, store in stores.items():
            assert [(entry.key, entry.value) for entry in await rig.all(store=store)] == [
                ("key", name.encode()),
                ("two:key", name.encode()),
            ]
            async with Reader(rig, store=store) as reader:
                await reader.current()
                assert set(reader.values.values()) == {name.encode()}
        await stores["app"].delete("key")
        await stores["app"].release("place", "app")
        assert await stores["app:one"].get("key")
        assert await stores["one"].hold("place", "another", places=1, lease=rig.far) is None

    @case()
    async def test_31_one_name_is_one_store(self, rig: StoreRig) -> None:
        first, second = rig.store, await rig.another_store()
        version = await first.put("key", b"first")
        assert await second.put("key", b"second", version=version) > version
        assert await first.get("key") == await second.get("key")
        async with Reader(rig, store=second) as reader:
            await reader.current()
            await first.put("new", b"")
            await reader.until(lambda: "new" in reader.values, "the change of another")
        assert (await first.take("bucket", 3, rate=1e-3, burst=5)).tokens == 3
        assert (await second.take("bucket", 3, rate=1e-3, burst=5)).tokens == 2
        assert await first.hold("place", "a", places=1, lease=rig.far) is not None
        assert await second.hold("place", "b", places=1, lease=rig.far) is None
