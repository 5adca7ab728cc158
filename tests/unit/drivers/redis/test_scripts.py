"""Scripts about many queues: what one server does not answer is missing for its own queues only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.redis import scripts
from tasuki.drivers.redis.errors import LinkLostError
from tasuki.drivers.redis.opening import Queues
from tasuki.drivers.toolkit.guard import KnownQueues
from tasuki.errors import BrokerUnavailableError, DriverError
from tasuki.system import signals

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.nodes import Nodes

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
    asked = [(where, ()) for where in (A, B, C)]
    first, *others = await scripts.run_for_each(cluster, scripts.KEEP, (scripts.KEPT_KEYS,), asked, is_cluster=True)
    assert isinstance(first, LinkLostError)
    assert others == [B.slot, C.slot]


class Session:
    """In the place of the session: notes the queues of the signs that it gets, and loses the first sign of ``a``."""

    def __init__(self) -> None:
        self.known: KnownQueues[scripts.Place] = KnownQueues("test")
        self.signs: list[list[str]] = []

    def kept_for(self, spec: QueueSpec) -> float:
        return 600.0 if spec.temporary else float(spec.options.get("expires") or 0.0)

    async def run_for_each(
        self, nodes: object, script: object, shared: object, asked: Sequence[tuple[scripts.Place, Sequence[int]]]
    ) -> list[int | DriverError]:
        self.signs.append([where.name for where, _ in asked])
        gone = BrokerUnavailableError("gone", driver="test", queue="a")
        return [gone if where.name == "a" else 0 for where, _ in asked]


async def test_a_sign_that_a_server_did_not_take_is_given_again_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    session: Any = Session()
    queues, nodes = Queues(session, lambda _: None), cast("Nodes", None)
    for name in "abc":
        session.known.declare(name, scripts.place("test", QueueSpec(name, temporary=True)))
    await queues.keep(nodes, ())
    await queues.keep(nodes, ())
    assert session.signs == [["a", "b", "c"], ["a"]]
    monkeypatch.setattr(signals, "fork_count", signals.fork_count + 1)
    await queues.keep(nodes, ())
    assert session.signs[-1] == [], "a child keeps none of its parent's queues"


async def test_a_queue_that_expires_is_kept_by_those_that_receive_from_it() -> None:
    session: Any = Session()
    queues, nodes = Queues(session, lambda _: None), cast("Nodes", None)
    for name, options in (("a", {}), ("b", {"expires": 60}), ("c", {"expires": 60})):
        session.known.declare(name, scripts.place("test", QueueSpec(name, options=options)))
    await queues.keep(nodes, {"a", "b"})
    assert session.signs == [["b"]]
