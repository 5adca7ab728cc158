"""Clause 33: several entries with one call."""

from __future__ import annotations

import os

from tasuki.contracts.state.store import MAX_KEY_BYTES, MAX_PAGE
from tasuki.errors import StoreLimitError
from tasuki.testing.conformance.stores.entries import HOSTILE
from tasuki.testing.conformance.stores.rig import Reader, StoreRig, StoreSuite, answer_of, case


class Several(StoreSuite):
    """Entries that are written together."""

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
