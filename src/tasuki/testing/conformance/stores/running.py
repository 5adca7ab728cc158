"""Clauses 24, 25, 27, 28 and 32: time, limits, cancelling, closing, forks and event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from tasuki.contracts.state.store import CURRENT, MAX_KEY_BYTES, Entry, Store
from tasuki.errors import BrokerUnavailableError, StoreFullError, StoreLimitError
from tasuki.testing.conformance.driver.failing import answer_of_a_fork
from tasuki.testing.conformance.rig import cancelled, case, raises, turn
from tasuki.testing.conformance.stores.rig import Reader, StoreRig, StoreSuite

Verb = Callable[[], Awaitable[object]]
_STEPS = 16


class Running(StoreSuite):
    """A store whose callers cancel, close, fork, and use several event loops."""

    @case()
    async def test_24_time_is_unix_time_and_does_not_fall(self, rig: StoreRig) -> None:
        times = [await rig.store.time() for _ in range(100)]
        assert times == sorted(times)
        assert times[0] > 1.5e9
        before = await rig.driver.time()
        now = await rig.store.time()
        after = await rig.driver.time()
        if before is not None and after is not None:
            assert before - 1 <= now <= after + 1, f"the broker's clock shows {before}, the store's {now}"

    @case()
    async def test_24_time_goes_on(self, rig: StoreRig) -> None:
        before = await rig.store.time()
        await rig.advance(rig.long / 10)
        assert await rig.store.time() >= before + rig.long / 10 - 0.1

    @case()
    async def test_25_a_key_that_no_store_takes_is_refused(self, rig: StoreRig) -> None:
        await rig.put("key")
        too_long = ("x" * (MAX_KEY_BYTES + 1), "語" * (MAX_KEY_BYTES // 3) + "xxx", "\U0001f600" * 129)
        for key in ("", *too_long, "\0", "a\0b", "\ud800"):
            for verb in verbs(rig.store, key):
                assert not (await raises(StoreLimitError, rig, verb)).retryable
        assert [entry.key for entry in await rig.all()] == ["key"]

    @case()
    async def test_25_a_value_that_is_too_large_changes_nothing(self, rig: StoreRig) -> None:
        version = await rig.store.put("key", b"kept")
        value = bytes(rig.store.facts.max_value_bytes + 1)
        for expected in (None, version, 0):
            await raises(StoreLimitError, rig, lambda: rig.store.put("key", value, version=expected))  # noqa: B023
            await raises(StoreLimitError, rig, lambda: rig.store.put("new", value, ttl=rig.term))
        assert await rig.all() == [Entry("key", b"kept", version)]
        await rig.store.put("key", value[1:], version=version)

    @case()
    async def test_25_a_full_store_takes_nothing_and_still_deletes(self, rig: StoreRig) -> None:
        store = rig.store
        await rig.put("deleted", "kept")
        assert await store.hold("place", "a", places=1, lease=rig.far)
        async with rig.suite.full(store):
            error = await raises(StoreFullError, rig, lambda: store.put("new", bytes(1024)))
            assert error.retryable
            assert error.outcome == "rejected"
            assert await store.get("new") is None
            assert await rig.value("kept") == b"kept"
            assert await store.delete("deleted") is True
            await store.release("place", "a")
        await store.put("new", bytes(1024))
        assert [entry.key for entry in await rig.all()] == ["kept", "new"]
        assert await store.hold("place", "b", places=1, lease=rig.far)

    @case()
    async def test_27_a_cancelled_put_has_happened_or_has_not(self, rig: StoreRig) -> None:
        for step in range(_STEPS):
            old = await rig.store.put("key", b"old")
            answer = await _cut(rig.store.put("key", b"new", version=old), step)
            found = await rig.store.get("key")
            assert found is not None
            if isinstance(answer, int):
                assert found == Entry("key", b"new", answer)
            else:
                assert isinstance(answer, asyncio.CancelledError), f"{answer!r} instead of the cancellation"
                await rig.store.put("key", b"next")  # behind the cancelled one, if that is still on its way
            assert found == Entry("key", b"old", old) or (found.value == b"new" and found.version > old)
        await rig.store.put("key", b"last")
        assert await rig.value("key") == b"last"

    @case()
    async def test_27_a_cancelled_delete_has_happened_or_has_not(self, rig: StoreRig) -> None:
        for step in range(_STEPS):
            version = await rig.store.put("key", b"old")
            await _cut(rig.store.delete("key", version=version), step)
            assert await rig.store.get("key") in {None, Entry("key", b"old", version)}
            await rig.store.delete("key")
            assert await rig.store.get("key") is None

    @case()
    async def test_27_cancelled_takes_and_holds_take_no_more_than_they_ask_for(self, rig: StoreRig) -> None:
        store, granted = rig.store, 0
        for step in range(_STEPS):
            answer = await _cut(store.take("bucket", 1, rate=1e-6, burst=2 * _STEPS), step)
            granted += getattr(answer, "tokens", 0)
            await _cut(store.hold("place", f"{step}", places=1, lease=rig.far), step)
            async with asyncio.timeout(rig.suite.patience):  # a cancelled hold may be on its way still
                await store.release("place", f"{step}")
                while await store.hold("place", "next", places=1, lease=rig.far) is None:
                    for earlier in range(step + 1):
                        await store.release("place", f"{earlier}")
            await store.release("place", "next")
        left = (await store.take("bucket", 3 * _STEPS, rate=1e-6, burst=2 * _STEPS)).tokens
        assert _STEPS <= left <= 2 * _STEPS - granted

    @case()
    async def test_27_cancelled_reads_leave_the_store_usable(self, rig: StoreRig) -> None:
        versions = await rig.put("a", "b")
        for step in range(_STEPS):
            watch = rig.store.watch()
            await _cut(anext(watch), step)
            await watch.aclose()  # type: ignore[attr-defined]  # watches are generators
            for asked in (rig.store.get("a"), rig.store.list(), rig.store.time()):
                await _cut(asked, step)
            assert await rig.store.get("b") == Entry("b", b"b", versions["b"])
            assert [entry.key for entry in await rig.all()] == ["a", "b"]

    @case()
    async def test_28_open_and_close_may_be_repeated(self, rig: StoreRig) -> None:
        await rig.put("key")
        for _ in range(3):
            await rig.store.close()
            await rig.store.close()
            await rig.store.open()
            await rig.store.open()
            assert await rig.value("key") == b"key"

    @case()
    async def test_28_a_close_ends_the_watches(self, rig: StoreRig) -> None:
        other = await rig.another_store()
        async with Reader(rig) as first, Reader(rig, "a") as second, Reader(rig, store=other) as third:
            for reader in (first, second, third):
                await reader.current()
            await rig.store.close()
            await first.ended()
            await second.ended()
            await other.put("a", b"")
            await third.has({"a": b""})
        await rig.store.open()
        async with Reader(rig) as again:
            await again.has({"a": b""})

    @case()
    async def test_28_a_closed_store_is_unavailable(self, rig: StoreRig) -> None:
        other = await rig.another_store()
        await rig.store.close()
        for verb in verbs(rig.store, "key"):
            await raises(BrokerUnavailableError, rig, verb)
        await other.put("key", b"")
        await rig.store.open()
        assert await rig.value("key") == b""

    @case()
    async def test_28_a_store_of_a_closed_driver_is_unavailable(self, rig: StoreRig) -> None:
        version = (await rig.put("key"))["key"]
        await rig.driver.close()
        for verb in verbs(rig.store, "key"):
            await raises(BrokerUnavailableError, rig, verb)
        await rig.driver.open()
        await rig.store.open()
        assert await rig.store.get("key") == Entry("key", b"key", version)

    @case()
    async def test_28_a_fork_opens_it_with_its_entries(self, rig: StoreRig) -> None:
        await rig.put("key")

        async def ask() -> str:
            await rig.driver.open()
            await rig.store.open()
            await rig.store.put("child", b"")
            found = await rig.store.get("key")
            await rig.store.close()
            await rig.driver.close()
            return "nothing found" if found is None else found.value.decode()

        assert await asyncio.to_thread(answer_of_a_fork, ask) == "key"
        for number in range(5):
            await rig.store.put("key", b"%d" % number)
            assert await rig.value("key") == b"%d" % number
        assert not rig.store.facts.multi_process or await rig.store.get("child")

    @case()
    async def test_32_verbs_run_in_any_loop(self, rig: StoreRig) -> None:
        async def work(name: str) -> str:
            for number in range(20):
                await _use(rig.store, f"{name}-{number}", lease=rig.far)
            return name

        names = [f"thread-{number}" for number in range(3)]
        asked = [asyncio.to_thread(asyncio.run, work(name)) for name in names]
        async with asyncio.timeout(rig.suite.patience * 4):
            assert await asyncio.gather(*asked, work("here")) == [*names, "here"]
        assert len(await rig.all()) == 20 * 4

    @case()
    async def test_32_a_watch_in_another_loop(self, rig: StoreRig) -> None:
        await rig.put("first")

        async def read() -> str:
            async with Reader(rig) as reader:
                await reader.current()
                await rig.store.put("from there", b"")
                await reader.until(lambda: "from here" in reader.values, "the change of the other loop")
            return "read"

        async with Reader(rig) as reader:
            reading = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(read())))
            await reader.until(lambda: "from there" in reader.values, "the change of the other loop")
            await rig.store.put("from here", b"")
            assert await reading == "read"


def verbs(store: Store, key: str) -> Iterator[Verb]:
    """All verbs that take a key, and the others where the key is one that a store takes."""
    yield lambda: store.get(key)
    yield lambda: store.put(key, b"")
    yield lambda: store.put(key, b"", version=0, ttl=60.0)
    yield lambda: store.delete(key)
    yield lambda: store.take(key, 1, rate=1.0, burst=1)
    yield lambda: store.give(key, 1, rate=1.0, burst=1)
    yield lambda: store.hold(key, "holder", places=1, lease=60.0)
    yield lambda: store.release(key, "holder")
    if key == "key":
        yield store.list
        yield store.time
        yield lambda: anext(store.watch())


async def _cut(asked: Any, step: int) -> Any:
    """Cancel a verb: at one of its first turns of the loop, or a little later. Its result, if it has one, or error."""
    task = asyncio.ensure_future(asked)
    await (turn(step) if step < _STEPS // 2 else asyncio.sleep((step - _STEPS // 2) * 2e-4))
    return await cancelled(task)


async def _use(store: Store, key: str, *, lease: float) -> None:
    version = await store.put(key, b"1", version=0)
    version = await store.put(key, b"2", version=version, ttl=lease)
    assert await store.get(key) == Entry(key, b"2", version)
    assert (await store.list(key)).entries[0] == Entry(key, b"2", version)
    assert (await store.take(key, 5, rate=1e-6, burst=2)).tokens == 2
    assert await store.hold(key, "a", places=1, lease=lease)
    assert await store.hold(key, "b", places=1, lease=lease) is None
    watch = store.watch(key)
    while await anext(watch) is not CURRENT:
        pass
    await watch.aclose()  # type: ignore[attr-defined]  # watches are generators
