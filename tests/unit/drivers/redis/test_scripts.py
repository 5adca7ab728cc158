"""Scripts about many queues: what one server does not answer is missing for its own queues only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.redis import scripts
from tasuki.drivers.redis.errors import LinkLostError
from tasuki.drivers.redis.queues import Queues
from tasuki.drivers.toolkit.known_queues import KnownQueues
from tasuki.errors import BrokerUnavailableError, DriverError

pytestmark = pytest.mark.anyio

A, B, C = (scripts.place("test", QueueSpec(name)) for name in "abc")


class Cluster:
    """In the place of the connections: the server of ``a`` fails after all other servers have answered."""

    def __init__(self) -> None:
        self.asked = 0
        self.others = asyncio.Event()

    async def call(self, slot: int, *words: Any) -> list[int]:
        if slot == A.slot:
            async with asyncio.timeout(5):
                await self.others.wait()
            raise LinkLostError("gone")
        self.asked += 1
        if self.asked == 2:
            self.others.set()
        return [slot]


async def test_a_silent_server_delays_the_questions_to_no_other() -> None:
    cluster: Any = Cluster()
    asked = [(where, (1,)) for where in (A, B, C)]
    first, *others = await scripts.run_for_each(cluster, scripts.ATTACH, ("owner", 1), asked, is_cluster=True)
    assert isinstance(first, LinkLostError)
    assert others == [B.slot, C.slot]


class Session:
    """In the place of the session: notes the queues of the signs of life that it gets, and loses the sign of ``a``."""

    name = "test"
    owner = "owner"
    is_open = True

    def __init__(self) -> None:
        self.known: KnownQueues[scripts.Place] = KnownQueues("test")
        self.signs: list[list[str]] = []

    def place(self, queue: str) -> scripts.Place:
        return self.known.get(queue)

    def nodes(self, queue: str) -> None: ...

    async def run_for_each(
        self, nodes: object, script: object, shared: object, asked: Sequence[tuple[scripts.Place, Sequence[int]]]
    ) -> list[int | DriverError]:
        self.signs.append([where.name for where, _ in asked])
        gone = BrokerUnavailableError("gone", driver="test", queue="a")
        return [gone if where.name == "a" else 15_000_000 for where, _ in asked]


async def test_a_sign_of_life_that_a_server_did_not_take_is_given_again_alone() -> None:
    session: Any = Session()
    queues = Queues(session)
    for where in (A, B, C):
        session.known.declare(where.name, where)
    with pytest.raises(BrokerUnavailableError):
        await queues.attach("a", 1)
    for name in "bc":
        await queues.attach(name, 1)
    with pytest.raises(BrokerUnavailableError):
        await queues.attach_all(session.nodes(""))
    with pytest.raises(BrokerUnavailableError):
        await queues.give_signs(session.nodes(""))
    assert session.signs[-2:] == [["a", "b", "c"], ["a"]]
