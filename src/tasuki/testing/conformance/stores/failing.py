"""Clauses 15, 26, 29 and 34: brokers that are unavailable, silent, restarted, killed or restored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from unittest import SkipTest

from tasuki.contracts.driver import DURABILITIES
from tasuki.contracts.state.store import Entry
from tasuki.errors import ConflictError, DriverError
from tasuki.testing.conformance.rig import GONE, case, until_back
from tasuki.testing.conformance.stores.rig import Reader, StoreRig, StoreSuite, answer_of, conflict
from tasuki.testing.conformance.stores.running import verbs

_MOST_ANSWERS = 50


class Failing(StoreSuite):
    """A store whose broker fails."""

    @case()
    async def test_15_a_watch_goes_on_after_a_lost_connection(self, rig: StoreRig) -> None:
        await rig.put("kept", "changed", "deleted")
        async with Reader(rig) as reader:
            await reader.current()
            for number in range(3):
                async with rig.suite.broken(rig.place):
                    pass
                value = b"%d" % number
                await until_back(lambda: rig.store.put("changed", value))  # noqa: B023
                await until_back(lambda: rig.store.put("new", value))  # noqa: B023
                await until_back(lambda: rig.store.delete("deleted"))
                await reader.has({"kept": b"kept", "changed": value, "new": value}, rig.suite.case_timeout)
                await rig.put("deleted")
                await reader.until(lambda: "deleted" in reader.values, "a put", rig.suite.case_timeout)

    @case()
    async def test_15_a_watch_learns_of_all_that_changed_while_it_was_cut_off(self, rig: StoreRig) -> None:
        other = rig.suite.make_driver(rig.suite.detour(rig.place), rig.clock)
        rig.closes(other)
        await other.open()
        writer = await rig.open_store(other)
        await rig.put("kept", "changed", "deleted", "back")
        async with Reader(rig) as reader, Reader(rig, "d") as second:
            await reader.current()
            await second.current()
            async with rig.suite.broken(rig.place):
                await writer.put("changed", b"new")
                await writer.put("new", b"new")
                await writer.delete("deleted")
                await writer.delete("back")
                await writer.put("back", b"again")
                await asyncio.sleep(rig.suite.brief)  # so that a watch which polls has met the outage
            expected = {"kept": b"kept", "changed": b"new", "new": b"new", "back": b"again"}
            await reader.has(expected, rig.suite.case_timeout)
            await second.has({}, rig.suite.case_timeout)
            await writer.put("last", b"")
            await reader.has({**expected, "last": b""}, rig.suite.case_timeout)

    @case()
    async def test_15_a_watch_that_begins_while_the_broker_is_away_waits_or_says_so(self, rig: StoreRig) -> None:
        await rig.put("key")
        async with rig.suite.broken(rig.place):
            watch = rig.store.watch()
            first = asyncio.ensure_future(answer_of(anext(watch)))
            await asyncio.wait([first], timeout=rig.suite.brief)
        answer = await first
        assert isinstance(answer, GONE) or answer == await until_back(lambda: rig.store.get("key"))
        await watch.aclose()  # type: ignore[attr-defined]  # watches are generators

    @case("durable")
    async def test_15_a_watch_goes_on_after_a_restart_of_the_broker(self, rig: StoreRig) -> None:
        _needs_a_durable_broker(rig)
        await rig.put("kept", "changed", "deleted")
        async with Reader(rig) as reader:
            await reader.current()
            await rig.suite.kill(rig.place)
            await until_back(lambda: rig.store.put("changed", b"new"))
            await until_back(lambda: rig.store.delete("deleted"))
            await reader.has({"kept": b"kept", "changed": b"new"}, rig.suite.case_timeout)

    @case("durable")
    async def test_34_a_watch_reports_what_the_broker_has_after_its_data_was_put_back(self, rig: StoreRig) -> None:
        await rig.put("kept", "changed", "deleted", "again")
        await rig.suite.save(rig.place)
        await until_back(rig.store.list)
        async with Reader(rig) as reader:
            await reader.current()
            before = reader.values.copy()
            for number in range(3):
                await rig.store.put("changed", b"%d" % number)
                await rig.store.put("again", b"%d" % number)
            await rig.store.put("new", b"new")
            await rig.store.delete("deleted")
            await reader.has({"kept": b"kept", "changed": b"2", "again": b"2", "new": b"new"})
            reader.forget_versions()
            await rig.suite.restore(rig.place)
            await until_back(lambda: rig.store.put("again", b"later"))
            await reader.has({**before, "again": b"later"}, rig.suite.case_timeout)
            await rig.store.put("changed", b"later")
            await reader.has({**before, "again": b"later", "changed": b"later"}, rig.suite.case_timeout)

    @case("durable")
    async def test_34_a_version_from_before_changes_nothing_that_was_written_afterwards(self, rig: StoreRig) -> None:
        await rig.put("key")
        await rig.suite.save(rig.place)
        await until_back(rig.store.list)
        before = [await rig.store.put("key", b"before") for _ in range(4)]
        await rig.suite.restore(rig.place)
        for _ in range(4):
            after = await until_back(lambda: rig.store.put("key", b"after"))
            for version in before:
                await conflict(rig.store.put("key", b"wrong", version=version))
                await conflict(rig.store.delete("key", version=version))
            assert await rig.store.get("key") == Entry("key", b"after", after)

    @case()
    async def test_26_a_broker_that_is_gone_is_unavailable(self, rig: StoreRig) -> None:
        versions = await rig.put("key", "other")
        async with rig.suite.broken(rig.place):
            answers = await asyncio.gather(*(answer_of(verb()) for verb in verbs(rig.store, "key")))
            put = await answer_of(rig.store.put("other", b"lost", version=versions["other"]))
        problems = [answer for answer in [*answers, put] if isinstance(answer, DriverError)]
        assert all(isinstance(problem, GONE) and problem.retryable for problem in problems), problems
        assert isinstance(put, GONE), f"{put!r} from an unavailable broker"
        found = await until_back(lambda: rig.store.get("other"))
        assert found is not None
        assert found.value == b"other" or put.outcome == "unknown", "called rejected, and written"
        await rig.store.put("other", b"works", version=found.version)

    @case()
    async def test_26_a_silent_broker_is_noticed(self, rig: StoreRig) -> None:
        version = await rig.store.put("key", b"old")
        async with rig.suite.silent(rig.place):
            asked = (rig.store.put("key", b"new", version=version), rig.store.get("key"), rig.store.list())
            answers = await asyncio.gather(*map(answer_of, asked))
        assert all(isinstance(answer, GONE) for answer in answers), answers
        found = await until_back(lambda: rig.store.get("key"))
        assert found is not None
        assert found == Entry("key", b"old", version) or (found.version > version and answers[0].outcome == "unknown")

    @case()
    async def test_26_a_get_by_version_settles_a_put_without_an_answer(self, rig: StoreRig) -> None:
        version = await rig.store.put("key", b"old")
        async with rig.suite.unanswered(rig.place):
            error = await answer_of(rig.store.put("key", b"new", version=version))
        assert isinstance(error, GONE), f"{error!r} without an answer"
        found = await until_back(lambda: rig.store.get("key"))
        assert found is not None
        assert found == Entry("key", b"old", version) or (found.value == b"new" and found.version > version)
        assert error.outcome == "unknown" or found.version == version, "called rejected, and written"

    @case()
    async def test_26_a_put_that_is_cut_short_at_any_answer_is_no_conflict(self, rig: StoreRig) -> None:
        async def ask(version: int, value: bytes) -> object:
            return await answer_of(rig.store.put("key", value, version=version))

        await self._cut_short(rig, ask)

    @case()
    async def test_26_a_delete_that_is_cut_short_at_any_answer_is_no_conflict(self, rig: StoreRig) -> None:
        async def ask(version: int, _: bytes) -> object:
            return await answer_of(rig.store.delete("key", version=version))

        await self._cut_short(rig, ask)

    async def _cut_short(self, rig: StoreRig, ask: Callable[[int, bytes], Awaitable[object]]) -> None:
        for answers in range(_MOST_ANSWERS):
            version = await until_back(lambda: rig.store.put("key", b"old"))
            value = b"%d" % answers
            async with rig.suite.cut_short(rig.place, answers) as is_cut:
                answer = await ask(version, value)
                has_been_cut = is_cut()
            assert not isinstance(answer, ConflictError), "its own write is called a conflict"
            found: Entry | None = await until_back(lambda: rig.store.get("key"))
            is_done = found is None or found.version > version
            assert found is None or found.value == (value if is_done else b"old")
            if isinstance(answer, DriverError):
                assert isinstance(answer, GONE), answer
                assert answer.outcome == "unknown" or not is_done, "called rejected, and done"
            else:
                assert is_done, "confirmed, and not done"
            if not has_been_cut:
                return
        raise AssertionError(f"one verb took more than {_MOST_ANSWERS} answers")

    @case("durable")
    async def test_29_entries_survive_a_restart(self, rig: StoreRig) -> None:
        keys = [f"key-{number}" for number in range(200)]
        versions = await rig.put(*keys)
        await rig.put("ends", ttl=rig.term)
        await rig.put("stays", ttl=rig.far)
        await rig.store.delete(keys[0])
        versions[keys[1]] = await rig.store.put(keys[1], keys[1].encode(), version=versions[keys[1]])
        await rig.restart()
        await rig.outlast(rig.term)
        found = await rig.all(limit=1000)
        stays = found.pop()
        assert (stays.key, stays.value) == ("stays", b"stays")
        assert found == [Entry(key, key.encode(), versions[key]) for key in sorted(keys[1:])]
        await rig.store.put(keys[1], b"works", version=versions[keys[1]])

    @case("durable")
    async def test_29_confirmed_entries_survive_a_kill_of_the_broker(self, rig: StoreRig) -> None:
        _needs_a_durable_broker(rig)
        confirmed: dict[str, int] = {}
        over = asyncio.Event()

        async def write(worker: int) -> None:
            number = 0
            while not over.is_set():
                number += 1
                key = f"{worker}/{number:06d}"
                answer = await answer_of(rig.store.put(key, key.encode()))
                if isinstance(answer, int):
                    confirmed[key] = answer
                await asyncio.sleep(0.001 if isinstance(answer, int) else 0.01)

        writing = [asyncio.create_task(write(worker)) for worker in range(4)]
        await _until(lambda: len(confirmed) >= 100, writing)
        await rig.suite.kill(rig.place)
        already = len(confirmed)
        await _until(lambda: len(confirmed) > already, writing)
        over.set()
        await asyncio.gather(*writing)
        found = {entry.key: entry for entry in await until_back(lambda: rig.all(limit=1000))}
        for key, version in confirmed.items():
            assert found.get(key) == Entry(key, key.encode(), version), f"key {key!r}, a confirmed put, is gone"


def _needs_a_durable_broker(rig: StoreRig) -> None:
    durability = rig.store.facts.durability
    if DURABILITIES.index(durability) < DURABILITIES.index("broker"):
        raise SkipTest(f"not applicable: durability {durability}")


async def _until(condition: Callable[[], bool], tasks: list[asyncio.Task[None]]) -> None:
    """Wait for a condition that tasks bring about; the case's own timeout is the bound."""
    while not condition():
        for task in tasks:
            if task.done():
                task.result()
        await asyncio.sleep(0.01)
