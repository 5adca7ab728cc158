"""The pool's own decisions, with connections that a test can break."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tasuki.drivers.toolkit.reconnecting import NotConnectedError, Pool

pytestmark = pytest.mark.anyio


class FakeLink:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.is_alive = True
        self.was_closed = self.was_aborted = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.problem: Exception | None = None

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        await self.gate.wait()
        if self.problem is not None:
            raise self.problem
        return [(sql, *arguments)]

    async def close(self) -> None:
        self.was_closed = True
        self.is_alive = False

    def abort(self) -> None:
        self.was_aborted = True
        self.is_alive = False


class Maker:
    """Makes links; ``problems`` are raised first."""

    def __init__(self) -> None:
        self.links: list[FakeLink] = []
        self.problems: list[Exception] = []
        self.attempts = 0

    async def __call__(self) -> Any:
        self.attempts += 1
        await asyncio.sleep(0)
        if self.problems:
            raise self.problems.pop(0)
        self.links.append(FakeLink())
        return self.links[-1]


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
def pool(maker: Maker) -> Pool[Any]:
    return Pool("app:x", maker, 2, 5.0)


async def fetch(pool: Pool[Any], sql: str, *arguments: Any) -> list[Any]:
    found: list[Any] = await pool.run(lambda link: link.fetch(sql, *arguments))
    return found


async def test_what_the_other_side_has_ended_is_freed_and_not_used(pool: Pool[Any], maker: Maker) -> None:
    await fetch(pool, "a")
    maker.links[0].is_alive = False
    assert await fetch(pool, "b") == [("b",)]

    async def lose(link: FakeLink) -> None:
        link.is_alive = False

    await pool.run(lose)
    assert await fetch(pool, "c") == [("c",)]
    assert [link.was_aborted for link in maker.links] == [True, True, False]


async def test_a_connection_is_used_again(pool: Pool[Any], maker: Maker) -> None:
    assert await fetch(pool, "a", 1) == [("a", 1)]
    assert await fetch(pool, "b") == [("b",)]
    assert len(maker.links) == 1
    await pool.close()
    assert maker.links[0].was_closed


async def test_no_more_connections_than_its_size(pool: Pool[Any], maker: Maker) -> None:
    answers = await asyncio.gather(*(fetch(pool, f"{number}") for number in range(20)))
    assert [answer[0][0] for answer in answers] == [f"{number}" for number in range(20)]
    assert len(maker.links) <= 2
    await pool.close()


async def test_one_that_was_lost_is_not_used_again(pool: Pool[Any], maker: Maker) -> None:
    await fetch(pool, "a")
    maker.links[0].is_alive = False
    await fetch(pool, "b")
    assert len(maker.links) == 2
    await pool.close()


async def test_a_failed_attempt_is_reported_to_all_waiting_callers(pool: Pool[Any], maker: Maker) -> None:
    maker.problems = [OSError("away")]
    answers = await asyncio.gather(*(fetch(pool, "a") for _ in range(5)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {NotConnectedError}
    assert maker.attempts == 1
    assert await fetch(pool, "a") == [("a",)]
    await pool.close()


async def test_a_failed_attempt_is_no_news_while_others_work(pool: Pool[Any], maker: Maker) -> None:
    await fetch(pool, "a")
    maker.links[0].gate.clear()
    first = asyncio.create_task(fetch(pool, "first"))
    await asyncio.sleep(0)
    maker.problems = [OSError("no more connections")]
    second = asyncio.create_task(fetch(pool, "second"))
    await _until(lambda: not maker.problems)
    maker.links[0].gate.set()
    assert await first == [("first",)]
    assert await asyncio.wait_for(second, 5.0) == [("second",)]
    await pool.close()


async def test_a_wait_beyond_the_timeout_is_an_error(maker: Maker) -> None:
    pool: Pool[Any] = Pool("app:x", maker, 1, 0.05)
    await fetch(pool, "a")
    maker.links[0].gate.clear()
    first = asyncio.create_task(fetch(pool, "first"))
    await asyncio.sleep(0)
    with pytest.raises(NotConnectedError, match="in time"):
        await fetch(pool, "second")
    maker.links[0].gate.set()
    await first
    assert await fetch(pool, "third") == [("third",)]
    await pool.close()


async def test_a_close_ends_those_that_wait_and_drops_what_is_in_use(pool: Pool[Any], maker: Maker) -> None:
    await fetch(pool, "a")
    maker.links[0].gate.clear()
    using = asyncio.create_task(fetch(pool, "b"))
    await asyncio.sleep(0)
    await pool.close()
    assert not maker.links[0].is_alive
    maker.links[0].problem = OSError("gone")
    maker.links[0].gate.set()
    with pytest.raises(OSError, match="gone"):
        await using
    with pytest.raises(NotConnectedError, match="driver 'app:x' was closed meanwhile"):
        await fetch(pool, "c")
    await pool.close()


async def test_a_close_ends_the_attempt_that_callers_wait_for(pool: Pool[Any], maker: Maker) -> None:
    waiting = asyncio.create_task(fetch(pool, "a"))
    await asyncio.sleep(0)
    await asyncio.gather(pool.close(), pool.close())
    with pytest.raises(NotConnectedError, match="closed meanwhile"):
        await waiting
    assert maker.links == []


async def test_a_cancelled_caller_leaves_its_connection_to_the_next(maker: Maker) -> None:
    pool: Pool[Any] = Pool("app:x", maker, 1, 5.0)
    gate = asyncio.Event()

    async def use(_: Any) -> None:
        await gate.wait()
        asyncio.get_running_loop().call_soon(cancelled.cancel)  # when it has the connection, and has not begun

    using = asyncio.create_task(pool.run(use))
    cancelled, last = asyncio.create_task(fetch(pool, "second")), asyncio.create_task(fetch(pool, "third"))
    await _until(lambda: maker.links)
    gate.set()
    await using
    assert await asyncio.wait_for(last, 5.0) == [("third",)]
    assert cancelled.cancelled()
    assert len(maker.links) == 1
    await pool.close()


async def test_work_on_one_connection_that_fails_drops_it(pool: Pool[Any], maker: Maker) -> None:
    async def fail(_: Any) -> None:
        raise ValueError("no")

    async def succeed(_: Any) -> None:
        return

    with pytest.raises(ValueError, match="no"):
        await pool.use(fail)
    assert not maker.links[0].is_alive
    await pool.use(succeed)
    assert maker.links[1].is_alive
    await pool.close()


async def _until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(5.0):
        while not condition():
            await asyncio.sleep(0)
