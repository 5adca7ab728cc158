"""The pool's own decisions, with connections that a test can break."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tasuki.drivers.postgres.connecting.pool import NotConnectedError, Pool

pytestmark = pytest.mark.anyio


class FakeLink:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.is_open = True
        self.was_closed = False
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
        self.is_open = False

    def terminate(self) -> None:
        self.is_open = False


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
def pool(maker: Maker) -> Pool:
    return Pool(maker, 2, 5.0)


async def test_a_connection_is_used_again(pool: Pool, maker: Maker) -> None:
    assert await pool.fetch("a", 1) == [("a", 1)]
    assert await pool.fetch("b") == [("b",)]
    assert len(maker.links) == 1
    await pool.close()
    assert maker.links[0].was_closed


async def test_no_more_connections_than_its_size(pool: Pool, maker: Maker) -> None:
    answers = await asyncio.gather(*(pool.fetch(f"{number}") for number in range(20)))
    assert [answer[0][0] for answer in answers] == [f"{number}" for number in range(20)]
    assert len(maker.links) <= 2
    await pool.close()


async def test_one_that_was_lost_is_not_used_again(pool: Pool, maker: Maker) -> None:
    await pool.fetch("a")
    maker.links[0].is_open = False
    await pool.fetch("b")
    assert len(maker.links) == 2
    await pool.close()


async def test_a_failed_attempt_is_reported_to_all_waiting_callers(pool: Pool, maker: Maker) -> None:
    maker.problems = [OSError("away")]
    answers = await asyncio.gather(*(pool.fetch("a") for _ in range(5)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {NotConnectedError}
    assert maker.attempts == 1
    assert await pool.fetch("a") == [("a",)]
    await pool.close()


async def test_a_failed_attempt_is_no_news_while_others_work(pool: Pool, maker: Maker) -> None:
    await pool.fetch("a")
    maker.links[0].gate.clear()
    first = asyncio.create_task(pool.fetch("first"))
    await asyncio.sleep(0)
    maker.problems = [OSError("no more connections")]
    second = asyncio.create_task(pool.fetch("second"))
    await _until(lambda: not maker.problems)
    maker.links[0].gate.set()
    assert await first == [("first",)]
    assert await asyncio.wait_for(second, 5.0) == [("second",)]
    await pool.close()


async def test_a_wait_beyond_the_timeout_is_an_error(maker: Maker) -> None:
    pool = Pool(maker, 1, 0.05)
    await pool.fetch("a")
    maker.links[0].gate.clear()
    first = asyncio.create_task(pool.fetch("first"))
    await asyncio.sleep(0)
    with pytest.raises(NotConnectedError, match="in time"):
        await pool.fetch("second")
    maker.links[0].gate.set()
    await first
    assert await pool.fetch("third") == [("third",)]
    await pool.close()


async def test_a_close_ends_those_that_wait_and_drops_what_is_in_use(pool: Pool, maker: Maker) -> None:
    await pool.fetch("a")
    maker.links[0].gate.clear()
    using = asyncio.create_task(pool.fetch("b"))
    await asyncio.sleep(0)
    await pool.close()
    assert not maker.links[0].is_open
    maker.links[0].problem = OSError("gone")
    maker.links[0].gate.set()
    with pytest.raises(OSError, match="gone"):
        await using
    with pytest.raises(NotConnectedError):
        await pool.fetch("c")


async def test_work_on_one_connection_that_fails_drops_it(pool: Pool, maker: Maker) -> None:
    async def fail(_: Any) -> None:
        raise ValueError("no")

    async def succeed(_: Any) -> None:
        return

    with pytest.raises(ValueError, match="no"):
        await pool.use(fail)
    assert not maker.links[0].is_open
    await pool.use(succeed)
    assert maker.links[1].is_open
    await pool.close()


async def _until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(5.0):
        while not condition():
            await asyncio.sleep(0)
