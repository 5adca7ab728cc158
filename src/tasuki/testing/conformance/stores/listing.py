"""Clauses 10, 11 and 31: pages of entries, reads after a put, and stores of several names."""

from __future__ import annotations

import asyncio
from itertools import count

from tasuki.contracts.state.store import MAX_PAGE, Entry
from tasuki.testing.conformance.rig import case
from tasuki.testing.conformance.stores.entries import HOSTILE
from tasuki.testing.conformance.stores.rig import Reader, StoreRig, StoreSuite

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
