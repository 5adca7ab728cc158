"""Clauses 20 to 23: places that are held for a lease."""

from __future__ import annotations

import asyncio
from collections import Counter

from tasuki.testing.conformance.stores.rig import StoreRig, StoreSuite, case


class Places(StoreSuite):
    """There are so many places, and no more."""

    @case()
    async def test_20_there_are_no_more_holders_than_places(self, rig: StoreRig) -> None:
        async def hold(holder: str) -> bool:
            return await rig.store.hold("key", holder, places=3, lease=rig.far) is not None

        assert [await hold(holder) for holder in "abcde"] == [True, True, True, False, False]
        await rig.store.release("key", "b")
        assert [await hold(holder) for holder in "de"] == [True, False]

    @case()
    async def test_20_of_many_at_once_so_many_succeed_as_there_are_places(self, rig: StoreRig) -> None:
        stores = [rig.store, await rig.another_store()]
        for places in (1, 3, 10):
            asked = (stores[n % 2].hold(f"{places}", f"{n}", places=places, lease=rig.far) for n in range(12))
            ends = await asyncio.gather(*asked)
            assert len([end for end in ends if end is not None]) == places

    @case()
    async def test_20_hold_returns_the_end_of_the_lease(self, rig: StoreRig) -> None:
        store, shortest = rig.store, rig.store.facts.shortest_lease
        for lease in (rig.far, rig.term, 0.01):
            before = await store.time()
            end = await store.hold(f"{lease}", "a", places=1, lease=lease)
            after = await store.time()
            assert end is not None
            lasts = max(lease, shortest)
            assert before + lasts - 0.01 <= end <= after + lasts + 0.01, f"{end - before} s instead of {lasts} s"

    @case()
    async def test_20_places_under_other_keys_are_apart(self, rig: StoreRig) -> None:
        for key in ("a", "A", "a/b", "%", "_", "a:b", "日本"):
            assert await rig.store.hold(key, "holder", places=1, lease=rig.far) is not None
            assert await rig.store.hold(key, "other", places=1, lease=rig.far) is None
        assert await rig.store.hold("a:b", "c", places=2, lease=rig.far) is not None
        assert await rig.store.hold("a", "b:c", places=2, lease=rig.far) is not None
        assert await rig.all() == []

    @case()
    async def test_20_never_more_holders_than_places_while_they_change(self, rig: StoreRig) -> None:
        stores = [rig.store, await rig.another_store()]
        held: Counter[str] = Counter()
        most = 0

        async def work(worker: int) -> None:
            nonlocal most
            store, name, got = stores[worker % 2], f"worker-{worker}", 0
            while got < 10:
                if await store.hold("key", name, places=3, lease=rig.far) is None:
                    await asyncio.sleep(0.001)
                    continue
                got += 1
                held[name] += 1
                most = max(most, held.total())
                await asyncio.sleep(0)
                held[name] -= 1
                await store.release("key", name)

        await asyncio.gather(*map(work, range(8)))
        assert most <= 3, f"{most} holders of 3 places"

    @case()
    async def test_21_a_renewal_takes_no_second_place(self, rig: StoreRig) -> None:
        async def hold(holder: str) -> bool:
            return await rig.store.hold("key", holder, places=2, lease=rig.far) is not None

        assert [await hold(holder) for holder in ("a", "a", "a", "b", "c", "a", "b", "c")] == [
            *(True, True, True, True, False),
            *(True, True, False),
        ]
        await rig.store.release("key", "a")
        assert [await hold(holder) for holder in ("c", "d", "c")] == [True, False, True]

    @case()
    async def test_21_a_renewal_sets_the_end_of_the_lease(self, rig: StoreRig) -> None:
        store, before = rig.store, await rig.store.time()
        for key, first, second in (("longer", rig.term, rig.far), ("shorter", rig.far, rig.term)):
            await store.hold(key, "a", places=1, lease=first)
            await store.hold(key, "a", places=1, lease=second)
        await rig.outlast(rig.term)
        another = await store.hold("longer", "b", places=1, lease=rig.far)
        assert another is None or await store.time() >= before + rig.far
        assert await store.hold("shorter", "b", places=1, lease=rig.far) is not None

    @case()
    async def test_21_a_release_does_nothing_to_anothers_place(self, rig: StoreRig) -> None:
        store = rig.store
        await store.release("key", "never")
        assert await store.hold("key", "a", places=1, lease=rig.far)
        await store.release("key", "b")
        await store.release("other", "a")
        assert await store.hold("key", "b", places=1, lease=rig.far) is None
        await store.release("key", "a")
        await store.release("key", "a")
        assert await store.hold("key", "b", places=1, lease=rig.far)
        await store.release("key", "a")
        assert await store.hold("key", "c", places=1, lease=rig.far) is None

    @case()
    async def test_22_a_hold_ends_with_its_lease(self, rig: StoreRig) -> None:
        store = rig.store
        before = await store.time()
        assert await store.hold("key", "a", places=1, lease=rig.term)
        refused = await store.hold("key", "b", places=1, lease=rig.far)
        assert refused is None or await store.time() >= before + rig.term
        await rig.outlast(rig.term)
        assert await store.hold("key", "b", places=1, lease=rig.far) is not None, "the ended hold still counts"

    @case()
    async def test_22_a_late_renewal_is_a_new_request(self, rig: StoreRig) -> None:
        store = rig.store
        for key in ("taken", "free"):
            assert await store.hold(key, "a", places=1, lease=rig.term)
        await rig.outlast(rig.term)
        assert await store.hold("taken", "b", places=1, lease=rig.far) is not None
        assert await store.hold("taken", "a", places=1, lease=rig.far) is None
        assert await store.hold("free", "a", places=1, lease=rig.far) is not None
        assert await store.hold("free", "b", places=1, lease=rig.far) is None

    @case()
    async def test_23_with_fewer_places_none_is_added_until_holders_have_left(self, rig: StoreRig) -> None:
        async def hold(holder: str, places: int) -> bool:
            return await rig.store.hold("key", holder, places=places, lease=rig.far) is not None

        assert [await hold(holder, 3) for holder in "abc"] == [True, True, True]
        assert not await hold("d", 1)
        await rig.store.release("key", "a")
        assert not await hold("d", 2)
        await rig.store.release("key", "b")
        assert not await hold("d", 1)
        assert await hold("d", 2)
        assert [await hold(holder, 3) for holder in "ef"] == [True, False]
