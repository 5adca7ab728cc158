"""A place for the time of a block, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.contracts.state.store_handle import StoreHandle, user_of
from tasuki.errors import HandlerError
from tasuki.handlers.store import HandlerStore
from tasuki.kinds.stores import memory_store

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


@pytest.fixture
async def memory() -> HandlerStore:
    return memory_store("app:s", clock=asyncio.get_running_loop().clock)  # type: ignore[attr-defined]


@pytest.fixture
async def store(memory: HandlerStore) -> StoreHandle:
    return StoreHandle("app:s", user_of(memory))


async def is_free(store: StoreHandle) -> bool:
    until = await store.hold("report", "another", lease=1)
    await store.release("report", "another")
    return until is not None


async def test_a_place_is_had_for_the_time_of_the_block(store: StoreHandle) -> None:
    async with store.holding("report", lease=3):
        await asyncio.sleep(100)
        assert not await is_free(store)
    assert await is_free(store)


async def test_a_block_that_raises_frees_its_place(store: StoreHandle) -> None:
    with pytest.raises(ValueError, match="no"):
        async with store.holding("report"):
            raise ValueError("no")
    assert await is_free(store)


async def test_never_more_than_there_are_places(store: StoreHandle) -> None:
    inside = most = done = 0

    async def work() -> None:
        nonlocal inside, most, done
        async with store.holding("report", places=2, lease=5, wait="1h"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(7)
            inside -= 1
            done += 1

    await asyncio.gather(*(work() for _ in range(7)))
    assert (most, done) == (2, 7)


@pytest.mark.parametrize("wait", [0, 2.5])
async def test_no_place_in_time(store: StoreHandle, wait: float) -> None:
    now = asyncio.get_running_loop().time
    async with store.holding("report"):
        begin = now()
        with pytest.raises(HandlerError, match=r"all places at key 'report' are taken \(1\)") as raised:
            async with store.holding("report", wait=wait):
                pytest.fail("there is no place")
        assert (raised.value.kind, raised.value.retryable, now() - begin) == ("Conflict", True, wait)
        assert not await is_free(store)


async def test_a_block_ends_with_its_lease_when_the_broker_is_away(memory: HandlerStore) -> None:
    is_away, begin, now = False, 0.0, asyncio.get_running_loop().time

    async def use(verb: str, *args: Any, **options: Any) -> Any:
        if is_away:
            raise HandlerError("away", kind="Unavailable", retryable=True)
        return await user_of(memory)(verb, *args, **options)

    async def work() -> None:
        nonlocal is_away, begin
        async with StoreHandle("app:s", use).holding("report", lease=6):
            await asyncio.sleep(3)
            is_away, begin = True, now()
            await asyncio.sleep(3600)

    with pytest.raises(HandlerError, match="the place at key 'report' is lost") as raised:
        await work()
    assert (raised.value.kind, now() - begin) == ("Conflict", 5)  # renewed after 2 s


async def test_a_block_ends_when_its_place_is_another_s(store: StoreHandle, memory: HandlerStore) -> None:
    holders: list[str] = []

    async def use(verb: str, *args: Any, **options: Any) -> Any:
        if verb == "hold":
            holders.append(args[1])
        return await user_of(memory)(verb, *args, **options)

    async def work() -> None:
        async with StoreHandle("app:s", use).holding("report", lease=6):
            await store.release("report", holders[0])
            assert await store.hold("report", "another", lease=60)
            await asyncio.sleep(3600)

    with pytest.raises(HandlerError, match="is lost"):
        await work()
    assert asyncio.get_running_loop().time() == 2
    assert await store.hold("report", "third", lease=1) is None


async def test_a_timeout_of_the_block_itself_is_its_own(store: StoreHandle) -> None:
    with pytest.raises(TimeoutError):
        async with store.holding("report"), asyncio.timeout(1):
            await asyncio.sleep(10)
    with pytest.raises(TimeoutError, match="mine"):
        async with store.holding("report"):
            raise TimeoutError("mine")
