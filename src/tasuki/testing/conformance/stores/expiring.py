"""Clauses 8 and 9: how long a key is there."""

from __future__ import annotations

from tasuki.contracts.state.store import Entry
from tasuki.testing.conformance.stores.rig import Reader, StoreRig, StoreSuite, case, conflict


class Expiring(StoreSuite):
    """A key with a ttl is there for at least its ttl, and not for long after it, by the clock of the store."""

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
