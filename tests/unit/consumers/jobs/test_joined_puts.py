"""Puts of results that come while the store writes others go to it together, and each caller gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tasuki.consumers.jobs.results import JoinedPuts
from tasuki.errors import BrokerUnavailableError, DriverError, StoreFullError, StoreLimitError

pytestmark = pytest.mark.anyio


class Writes:
    """In place of a state and its store: each write waits for ``go``, and then does what ``answer`` says."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.calls: list[tuple[list[str], float | None]] = []
        self.go = asyncio.Semaphore(0)
        self.down = self.cancels = False
        self.room = 1_000
        self.driver = SimpleNamespace(name="d")

    async def store(self) -> Any:
        return self

    async def put(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        await self.put_all([(key, value)], ttl=ttl)

    async def put_all(self, entries: Sequence[tuple[str, bytes]], *, ttl: float | None = None) -> None:
        self.calls.append(([key for key, _ in entries], ttl))
        await self.go.acquire()
        if self.down:
            raise BrokerUnavailableError("away", driver="d")
        if self.cancels:
            raise asyncio.CancelledError
        if len(entries) > self.room:
            raise StoreFullError("full", driver="d")
        self.room -= len(entries)
        if any(value == b"too large" for _, value in entries):
            raise StoreLimitError("too large", driver="d")
        self.entries.update(entries)


async def begun(*puts: Any) -> list[asyncio.Task[None]]:
    """Tasks that have come as far as they can."""
    tasks = [asyncio.ensure_future(put) for put in puts]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_those_that_come_meanwhile_are_written_together_by_their_ttl() -> None:
    store = Writes()
    joined = JoinedPuts(store)  # type: ignore[arg-type]
    tasks = await begun(joined.put("first", b"1", 5.0))
    tasks += await begun(*(joined.put(f"k{number}", b"", 5.0 + number % 2) for number in range(4)))
    store.go.release()
    await tasks[0]
    assert not tasks[1].done(), "confirmed with its own write only"
    store.go.release()
    store.go.release()
    await asyncio.gather(*tasks)
    assert store.calls == [(["first"], 5.0), (["k0", "k2"], 5.0), (["k1", "k3"], 6.0)]
    assert len(store.entries) == 5


async def test_what_the_store_refuses_is_the_trouble_of_its_caller_alone() -> None:
    store = Writes()
    joined = JoinedPuts(store)  # type: ignore[arg-type]
    tasks = await begun(joined.put("first", b"1", 5.0))
    tasks += await begun(joined.put("good", b"2", 5.0), joined.put("bad", b"too large", 5.0))
    for _ in range(4):
        store.go.release()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), type(None), StoreLimitError]
    assert store.entries == {"first": b"1", "good": b"2"}


async def test_of_an_unavailable_store_all_hear_at_once() -> None:
    store = Writes()
    store.down = True
    joined = JoinedPuts(store)  # type: ignore[arg-type]
    tasks = await begun(joined.put("first", b"1", 5.0))
    tasks += await begun(*(joined.put(f"k{number}", b"", 5.0) for number in range(100)))
    store.go.release()
    store.go.release()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(answer, DriverError) and answer.retryable for answer in answers)
    assert len(store.calls) == 2, "one by one they would wait for a hundred timeouts"


async def test_a_put_whose_caller_has_gone_is_not_sent() -> None:
    store = Writes()
    joined = JoinedPuts(store)  # type: ignore[arg-type]
    first, gone = [*await begun(joined.put("first", b"1", 5.0)), *await begun(joined.put("first", b"old", 5.0))]
    gone.cancel()
    [last] = await begun(joined.put("first", b"2", 5.0))
    store.go.release()
    store.go.release()
    await asyncio.gather(first, last)
    assert store.calls == [(["first"], 5.0), (["first"], 5.0)]
    assert store.entries == {"first": b"2"}


async def test_a_client_that_cancels_its_call_leaves_no_caller_waiting() -> None:
    store = Writes()
    joined = JoinedPuts(store)  # type: ignore[arg-type]
    tasks = await begun(joined.put("first", b"1", 5.0))
    tasks += await begun(joined.put("k", b"2", 5.0))
    store.cancels = True
    store.go.release()
    store.go.release()
    answers = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
    assert all(isinstance(answer, DriverError) and answer.retryable for answer in answers), answers
    store.cancels = False
    store.go.release()
    await asyncio.wait_for(joined.put("k", b"3", 5.0), 60)
    assert store.entries == {"k": b"3"}


async def test_a_store_with_room_for_some_takes_as_many() -> None:
    store = Writes()
    store.room = 3
    joined = JoinedPuts(store)  # type: ignore[arg-type]
    tasks = await begun(joined.put("first", b"1", 5.0))
    tasks += await begun(*(joined.put(f"k{number}", b"", 5.0) for number in range(4)))
    for _ in range(6):
        store.go.release()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None)] * 3 + [StoreFullError] * 2


async def test_large_values_are_written_by_the_mebibyte() -> None:
    store = Writes()
    joined = JoinedPuts(store)  # type: ignore[arg-type]
    tasks = await begun(joined.put("first", b"1", 5.0))
    sizes = [2**21, 400_000, 400_000, 400_000, 1]
    tasks += await begun(*(joined.put(f"k{number}", b"x" * size, 5.0) for number, size in enumerate(sizes)))
    for _ in range(4):
        store.go.release()
    await asyncio.gather(*tasks)
    assert [keys for keys, _ in store.calls] == [["first"], ["k0"], ["k1", "k2"], ["k3", "k4"]]
