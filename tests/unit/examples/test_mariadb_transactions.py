"""A transaction is committed as a whole or not at all, and its error names the outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, DriverError, Outcome, QueueNotFoundError
from tasuki_mariadb.transactions import BeginAgainError, Transactions

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


class Link:
    """Records its steps; the one named ``broken`` fails."""

    def __init__(self, broken: str) -> None:
        self.broken = broken
        self.steps: list[str] = []
        self.is_alive = True

    async def commit(self) -> None:
        self.step("commit")

    async def rollback(self) -> None:
        self.step("rollback")

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        self.is_alive = False

    def step(self, name: str) -> None:
        self.steps.append(name)
        if name == self.broken:
            raise ConnectionResetError("reset")


class Server:
    def __init__(self) -> None:
        self.broken = ""
        self.links: list[Link] = []

    async def connect(self) -> Any:
        if self.broken == "connect":
            raise ConnectionResetError("reset")
        self.links.append(Link(self.broken))
        return self.links[-1]

    def translate(self, problem: BaseException, queue: str, outcome: Outcome) -> DriverError:
        kind = BrokerTimeoutError if isinstance(problem, TimeoutError) else BrokerUnavailableError
        return kind(str(problem), queue=queue, outcome=outcome)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def transactions(server: Server) -> Transactions:
    return Transactions("app:x", server.connect, 1, 5.0, server.translate)


async def work(link: Any) -> str:
    link.step("work")
    return "done"


async def refused(link: Any) -> None:
    link.step("work")
    raise QueueNotFoundError("missing")


async def test_work_is_committed(transactions: Transactions, server: Server) -> None:
    assert [await transactions.run(work) for _ in range(2)] == ["done", "done"]
    assert [link.steps for link in server.links] == [["work", "commit", "work", "commit"]]


async def test_a_refusal_undoes_the_work_and_keeps_the_connection(transactions: Transactions, server: Server) -> None:
    with pytest.raises(QueueNotFoundError, match="missing"):
        await transactions.run(refused)
    assert server.links[0].steps == ["work", "rollback"]
    assert server.links[0].is_alive


@pytest.mark.parametrize(
    ("broken", "step", "outcome"),
    [
        ("connect", work, "rejected"),
        ("work", work, "rejected"),
        ("rollback", refused, "rejected"),
        ("commit", work, "unknown"),
    ],
)
async def test_a_step_that_fails_drops_the_connection(
    transactions: Transactions, server: Server, broken: str, step: Callable[[Any], Awaitable[Any]], outcome: str
) -> None:
    server.broken = broken
    with pytest.raises(BrokerUnavailableError, match="reset") as caught:
        await transactions.run(step, queue="q")
    assert (caught.value.queue, caught.value.outcome) == ("q", outcome)
    assert not any(link.is_alive for link in server.links)


async def test_work_can_begin_again_with_other_locks(transactions: Transactions, server: Server) -> None:
    async def again(link: Any) -> None:
        link.step("work")
        if link.steps.count("work") < 3:
            raise BeginAgainError

    await transactions.run(again)
    assert [link.steps for link in server.links] == [["work", "rollback", "work", "rollback", "work", "commit"]]


async def forever(link: Any) -> None:
    link.step("work")
    await asyncio.Event().wait()


async def test_work_that_lasts_too_long_is_dropped(transactions: Transactions, server: Server) -> None:
    with pytest.raises(BrokerTimeoutError) as caught:
        await transactions.run(forever)
    assert (caught.value.outcome, server.links[0].is_alive) == ("rejected", False)


async def test_work_that_waits_too_long_for_a_busy_connection_says_so(transactions: Transactions) -> None:
    busy = asyncio.create_task(transactions.run(forever, timeout=60.0))
    await asyncio.sleep(0)
    with pytest.raises(BrokerTimeoutError, match="no connection came free in time") as caught:
        await transactions.run(work)
    assert caught.value.outcome == "rejected"
    busy.cancel()
    await asyncio.wait([busy])


async def test_a_cancelled_caller_leaves_nothing_behind(transactions: Transactions, server: Server) -> None:
    caller = asyncio.create_task(transactions.run(forever))
    while not (server.links and server.links[0].steps):
        await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])
    assert not server.links[0].is_alive
    assert await transactions.run(work) == "done"


async def test_after_a_close_there_are_no_transactions(transactions: Transactions, server: Server) -> None:
    await transactions.run(work)
    await transactions.close()
    await transactions.close()
    assert not server.links[0].is_alive
    with pytest.raises(BrokerUnavailableError, match="driver 'app:x' was closed meanwhile") as caught:
        await transactions.run(work)
    assert (caught.value.driver, caught.value.outcome) == ("app:x", "rejected")
