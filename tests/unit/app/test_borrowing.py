"""Borrowing: within bounds, by one reader at a time, with a right, and all borrowed letters go back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from tasuki import App
from tasuki.contracts.driver import Outgoing
from tasuki.dead import peek_by_receive
from tasuki.dead.peek_by_receive import Borrowed, borrow
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import HeldBackError, PolicyDeniedError
from tasuki.security.actor import Actor
from tasuki.security.guard import Guard
from tasuki.security.policy import Scope

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


@pytest.fixture
async def app(make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[App]:
    app = make_app()
    app.queue("dead", lease="30s")
    monkeypatch.setattr(MemoryDriver, "capabilities", replace(MemoryDriver.capabilities, max_batch=10))
    async with app:
        letters = [Outgoing(f"{number:02}", b"x" * 100, {}) for number in range(30)]
        assert not any(await app._runtime.queue("dead").forward(letters))
        yield app


async def ask(app: App, most: int = 1000, guard: Guard | None = None) -> Borrowed:
    return await borrow(app._runtime.live(), app._runtime.queue("dead"), most, clock=app._runtime.clock, guard=guard)


async def waiting(app: App) -> list[str]:
    return [message.id for start in (0, 10, 20) for message in await app._runtime.queue("dead").peek(10, start)]


ALL = [f"{number:02}" for number in range(30)]


async def test_all_letters_or_the_first_of_them(app: App) -> None:
    found = await ask(app)
    assert ([letter.id for letter in found.letters], found.is_all) == (ALL, True)
    found = await ask(app, 15)
    assert ([letter.id for letter in found.letters], found.is_all) == (ALL[:15], False)
    assert await waiting(app) == ALL


async def test_bodies_are_bounded(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peek_by_receive, "MOST_BYTES", 1500)
    found = await ask(app)
    assert (len(found.letters), found.is_all) == (20, False)
    assert await waiting(app) == ALL


async def test_letters_are_held_for_no_longer_than_half_a_lease(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    receive = MemoryDriver.receive

    async def slowly(self: MemoryDriver, *args: Any, **named: Any) -> Any:
        await asyncio.sleep(6)
        return await receive(self, *args, **named)

    monkeypatch.setattr(MemoryDriver, "receive", slowly)
    found = await ask(app)
    assert (len(found.letters), found.is_all) == (20, False)
    assert await waiting(app) == ALL


@pytest.mark.parametrize("has_state", [True, False])
async def test_one_reader_at_a_time(app: App, monkeypatch: pytest.MonkeyPatch, has_state: bool) -> None:
    if not has_state:
        monkeypatch.setattr("tasuki.app.assembly.Assembly.state_of", lambda *_: None)
    receive, began, goes_on = MemoryDriver.receive, asyncio.Event(), asyncio.Event()

    async def waits(self: MemoryDriver, *args: Any, **named: Any) -> Any:
        began.set()
        await goes_on.wait()
        return await receive(self, *args, **named)

    monkeypatch.setattr(MemoryDriver, "receive", waits)
    reader = asyncio.create_task(ask(app))
    await began.wait()
    with pytest.raises(HeldBackError, match=r"queue 'app:dead': another reader .* for up to 10 s; do it again then"):
        await asyncio.wait_for(ask(app), 60)
    goes_on.set()
    assert (await reader).is_all
    assert (await ask(app)).is_all


async def test_one_reader_at_a_time_over_all_processes(app: App) -> None:
    state = app._runtime.live().state_of("app:dead")
    assert state is not None
    store = await state.store()
    await store.hold("borrow/app:dead", "another process", places=1, lease=20.0)
    with pytest.raises(HeldBackError):
        await ask(app)
    await asyncio.sleep(21)
    assert (await ask(app)).is_all
    assert await store.hold("borrow/app:dead", "another process", places=1, lease=20.0) is not None


async def test_a_cancelled_reader_gives_all_back(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    receive, calls = MemoryDriver.receive, [0]

    async def stops(self: MemoryDriver, *args: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == 2:
            await asyncio.Event().wait()
        return await receive(self, *args, **named)

    monkeypatch.setattr(MemoryDriver, "receive", stops)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask(app), 3)
    assert await waiting(app) == ALL
    assert (await ask(app)).is_all


async def test_without_the_right_nothing_is_received(app: App) -> None:
    with pytest.raises(PolicyDeniedError, match=r"no policy allows queue\.admin\.borrow"):
        await ask(app, guard=Guard(Actor("eve"), Scope([]), strict=True))
