"""Watcher: what the reader of a watch gets, in which order, and when the store is asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis import strategies as st

from tasuki.contracts.state.store import CURRENT, Change, Entry
from tasuki.drivers.toolkit.stores import Deadlines, KeyRange, Opened, Watcher, key_range
from tasuki.errors import BrokerUnavailableError
from tasuki.system import signals
from tasuki.testing.clock import virtual_time

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

INTERVAL = 10.0


async def never() -> None:
    """A check that has nothing to tell."""


def watch(watcher: Watcher) -> AsyncIterator[Any]:
    return watcher.read(never, INTERVAL)


async def unread(reading: AsyncIterator[Any]) -> list[Any]:
    """All that can be read now; ends the reading."""
    found: list[Any] = []
    try:
        async with asyncio.timeout(INTERVAL / 2):
            async for item in reading:
                found.append(item)  # noqa: PERF401 - as far as it comes
    except TimeoutError:
        pass
    return found


def put(key: str, version: int) -> Change:
    return Change(key, b"%d" % version, version)


def gone(key: str, version: int) -> Change:
    return Change(key, None, version)


def entry(key: str, version: int) -> Entry:
    return Entry(key, b"%d" % version, version)


async def test_changes_before_the_list_come_first_and_current_after_it() -> None:
    watcher = Watcher("")
    watcher.tell(put("a", 5))
    reading = watch(watcher)
    assert await anext(reading) == put("a", 5)
    watcher.tell_all([entry("a", 5), entry("b", 2)])
    assert await unread(reading) == [put("b", 2), CURRENT]


async def test_a_key_that_came_and_went_unread_leaves_nothing() -> None:
    watcher = Watcher("")
    watcher.tell_all([entry("a", 1)])
    reading = watch(watcher)
    assert [await anext(reading) for _ in range(2)] == [put("a", 1), CURRENT]
    for version in range(2, 2000, 2):
        watcher.tell(put(f"key-{version}", version))
        watcher.tell(gone(f"key-{version}", version))
    watcher.tell(gone("a", 1))
    watcher.tell(put("a", 3000))
    watcher.tell(gone("a", 3000))
    assert len(watcher._unread) == 1
    assert await unread(reading) == [gone("a", 3000)]


async def test_the_store_is_asked_each_interval_also_while_there_is_news() -> None:
    """Its own news may say nothing of what other processes do."""
    loop = asyncio.get_running_loop()
    watcher, asked = Watcher(""), list[float]()
    watcher.tell_all([])

    async def look() -> None:
        asked.append(loop.time())
        watcher.tell(put("theirs", 1000 + len(asked)))

    async def write() -> None:
        for version in range(1, 60):
            watcher.tell(put("ours", version))
            await asyncio.sleep(INTERVAL / 7)

    began = loop.time()
    writing = asyncio.create_task(write())
    seen: list[Any] = []
    async for item in watcher.read(look, INTERVAL):
        seen.append(item)
        if item == put("theirs", 1005):
            break
    await writing
    assert asked == pytest.approx([began + INTERVAL * number for number in range(1, 6)], abs=INTERVAL / 7)
    assert len([item for item in seen if item != CURRENT and item.key == "ours"]) > 30


async def test_a_check_that_fails_is_made_again() -> None:
    watcher, asked = Watcher(""), 0

    async def look() -> None:
        nonlocal asked
        asked += 1
        if asked < 4:
            raise BrokerUnavailableError("away", driver="d")
        watcher.tell_all([entry("a", 1)])

    reading = watcher.read(look, INTERVAL)
    assert await anext(reading) == put("a", 1)
    assert (asked, await anext(reading)) == (4, CURRENT)


async def test_an_error_of_the_program_is_not_hidden() -> None:
    async def look() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await anext(Watcher("").read(look, INTERVAL))


def test_any_thread_may_tell() -> None:
    async def read() -> list[Any]:
        watcher = Watcher("")

        def tell(worker: int) -> None:
            for number in range(200):
                watcher.tell(put(f"key-{worker}", number + 1))
            watcher.tell(put("end", worker + 1))

        watcher.tell_all([])
        threads = [threading.Thread(target=tell, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        last: dict[str, int] = {}
        async for change in watch(watcher):
            if change is not CURRENT:
                assert change.version > last.get(change.key, 0)
                last[change.key] = change.version
            if len(last) == 5 and all(last[f"key-{worker}"] == 200 for worker in range(4)):
                break
        for thread in threads:
            thread.join()
        return sorted(last)

    assert asyncio.run(read()) == ["end", *(f"key-{worker}" for worker in range(4))]


def test_a_change_for_a_reader_whose_loop_has_ended_harms_no_teller() -> None:
    async def make() -> Watcher:
        return Watcher("")

    watcher = asyncio.run(make())
    watcher.tell(put("a", 1))
    watcher.end()


KEYS = some.sampled_from(["a", "b", "c", "d"])


STEPS = some.lists(
    some.one_of(
        some.tuples(some.just("put"), KEYS),
        some.tuples(some.just("delete"), KEYS),
        some.tuples(some.just("lose"), KEYS),
        some.tuples(some.sampled_from(["list", "read"]), some.just("")),
    ),
    max_size=60,
)


class Model:
    """A store, a watcher of it, and what its reader knows."""

    def __init__(self) -> None:
        self.store: dict[str, int] = {}
        self.known: dict[str, int] = {}
        self.watcher = Watcher("")
        self._reading = watch(self.watcher)
        self._versions: dict[str, int] = {}
        self._version = 0

    async def step(self, what: str, key: str) -> None:
        match what:
            case "put" | "lose":
                self._version += 1
                self.store[key] = self._version
                if what == "put":
                    self.watcher.tell(put(key, self._version))
            case "delete" if key in self.store:
                self.watcher.tell(gone(key, self.store.pop(key)))
            case "list":
                self.watcher.tell_all([entry(key, self.store[key]) for key in sorted(self.store)])
            case "read":
                while self.watcher._unread:
                    self.take(await anext(self._reading))
        assert len(self.watcher._unread) <= 4

    async def rest(self) -> None:
        for change in await unread(self._reading):
            self.take(change)

    def take(self, change: Any) -> None:
        if change is CURRENT:
            return
        assert change.version >= self._versions.get(change.key, 0)
        self._versions[change.key] = change.version
        if change.value is None:
            assert self.known.pop(change.key, None) is not None, "gone, and never there"
        else:
            assert self.known.get(change.key, 0) < change.version
            self.known[change.key] = change.version


@given(STEPS)
def test_a_reader_knows_what_the_store_has_in_the_end(steps: list[tuple[str, str]]) -> None:
    """Changes may be merged, or lost until the next list: the last state comes, and no version falls."""

    async def run() -> None:
        model = Model()
        for what, key in [*steps, ("list", "")]:
            await model.step(what, key)
        await model.rest()
        assert model.known == model.store

    with virtual_time() as runner:
        runner.run(run())


TEXT = st.text("\x01ab%_\ud7ff\ue000\uffff\U0010fffe\U0010ffff", max_size=4)


@given(prefix=TEXT, after=TEXT, key=TEXT.filter(bool))
def test_it_has_just_the_keys_of_the_prefix_that_come_after(prefix: str, after: str, key: str) -> None:
    keys = key_range(prefix, after)
    assert keys is not None
    is_in = keys.low <= key and (not keys.high or key < keys.high)
    assert is_in == (key.startswith(prefix) and key > after)


@given(prefix=TEXT, after=TEXT)
def test_its_ends_can_be_sent_to_any_store(prefix: str, after: str) -> None:
    for end in key_range(prefix, after) or ():
        assert end.encode().count(0) == 0


def test_examples() -> None:
    assert key_range("") == KeyRange("", "")
    assert key_range("pause/") == KeyRange("pause/", "pause0")
    assert key_range("a", "ab") == KeyRange("ab\x01", "b")
    assert key_range("\U0010ffff") == KeyRange("\U0010ffff", "")


@pytest.mark.parametrize("prefix", ["a\0", "\ud800"])
def test_no_key_begins_with_what_no_key_contains(prefix: str) -> None:
    assert key_range(prefix) is None


def test_a_store_is_refused_unless_it_is_open() -> None:
    opened: Opened[str] = Opened("state", "main")
    with pytest.raises(BrokerUnavailableError, match="store 'state' of driver 'main' is not open; open it first"):
        opened.check()
    opened.open()
    opened.check()
    opened.close()
    with pytest.raises(BrokerUnavailableError):
        opened.check()


def test_each_loop_has_its_own_until_the_close() -> None:
    opened: Opened[str] = Opened("state", "main")
    opened.open()

    async def twice() -> str:
        first = opened.here(lambda: "made here")
        assert opened.here(lambda: "made again") == first
        return first

    assert asyncio.run(twice()) == "made here"

    async def elsewhere() -> None:
        assert opened.here(lambda: "made there") == "made there"
        assert [feed for _, feed in opened.close()] == ["made there"]  # the other loop is closed
        assert opened.close() == []

    asyncio.run(elsewhere())


def test_a_fork_finds_it_closed_and_leaves_its_parents_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: Opened[str] = Opened("state", "main")
    opened.open()

    async def fork() -> None:
        opened.here(lambda: "parent's")
        monkeypatch.setattr(signals, "fork_count", signals.fork_count + 1)
        with pytest.raises(BrokerUnavailableError):
            opened.check()
        opened.open()
        assert opened.here(lambda: "child's") == "child's"

    asyncio.run(fork())


DEADLINE_STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.floats(0, 10)), max_size=300)


@given(DEADLINE_STEPS, st.floats(0, 10))
def test_the_last_word_on_each_key_counts(steps: list[tuple[str, float | None]], now: float) -> None:
    deadlines, expected = Deadlines(), dict(steps)
    for key, at in steps:
        deadlines.set(key, at)
    there = {key: at for key, at in expected.items() if at is not None}
    assert {key: deadlines.at(key) for key in "abc" if deadlines.at(key) is not None} == there
    assert deadlines.next == min(there.values(), default=inf)
    due = {key for key, at in there.items() if at <= now}
    assert set(deadlines.due(now)) == due
    assert len(deadlines) == len(there) - len(due)
    assert deadlines.due(now) == []


def test_a_key_that_is_renewed_forever_takes_no_room() -> None:
    deadlines = Deadlines()
    for at in range(100_000):
        deadlines.set("key", float(at))
    assert len(deadlines._heap) < 100
