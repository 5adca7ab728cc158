"""The ring of acts in a store: it holds the last thousand, for thirty days."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tasuki.contracts.state.store import Store
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.state import audit
from tasuki.state.audit import AUDIT, KEPT, MOST, AuditRecord
from tasuki.testing.conformance import ShiftedClock
from tests.support.slow_store import SlowStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
async def store(clock: ShiftedClock) -> AsyncIterator[Store]:
    driver = MemoryDriver("app:db", clock=clock)
    await driver.open()
    store = driver.store("state")
    await store.open()
    yield store
    await store.close()
    await driver.close()


def act(target: str, **fields: object) -> AuditRecord:
    return AuditRecord(0.0, "kana", "10.0.0.1", "pause", target, **fields)  # type: ignore[arg-type]


async def test_an_act_comes_back_with_the_time_of_the_store(store: Store, clock: ShiftedClock) -> None:
    clock.advance(1000.0)

    await audit.write(store, act("app:mails", filter="id:1", count=1, batch="b"))

    [found] = await audit.read(store)
    assert found.time == pytest.approx(await store.time(), abs=60)
    assert (found.actor, found.client, found.act, found.target) == ("kana", "10.0.0.1", "pause", "app:mails")
    assert (found.filter, found.count, found.result, found.batch) == ("id:1", 1, "done", "b")


async def test_the_oldest_makes_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MOST", 5)
    for number in range(12):
        await audit.write(store, act(str(number)))

    assert [record.target for record in await audit.read(store)] == ["11", "10", "9", "8", "7"]
    assert len((await store.list(AUDIT)).entries) == 5


async def test_acts_of_many_at_once_are_all_kept(store: Store) -> None:
    slow: Any = SlowStore(store)
    await asyncio.gather(*(audit.write(slow, act(str(number))) for number in range(15)))

    assert {record.target for record in await audit.read(store)} == {str(number) for number in range(15)}


async def test_after_thirty_days_an_act_is_gone(store: Store, clock: ShiftedClock) -> None:
    await audit.write(store, act("app:mails"))

    clock.advance(KEPT + 60)

    assert await audit.read(store) == []


async def test_what_another_version_wrote_is_skipped(store: Store) -> None:
    await store.put(f"{AUDIT}000", b"\x00")
    await store.put("audit.next", b"x")

    await audit.write(store, act("app:mails"))
    await store.put(f"{AUDIT}001", b"{}")

    assert [record.target for record in await audit.read(store)] == ["app:mails"]


async def test_long_texts_are_cut(store: Store) -> None:
    await audit.write(store, act("x" * 10_000, result="y" * 10_000))

    [found] = await audit.read(store)
    assert (len(found.target), len(found.result)) == (500, 500)
    assert MOST == 1000
