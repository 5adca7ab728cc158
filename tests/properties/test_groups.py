"""Groups under kills at every await: each group is followed once, and no member is forgotten.

The members of a group end side by side. A scheduler lets one of them go on at a time, up to its next call of the store
or its publish, and kills some; a killed member ends again, as its message comes again. A seed gives the order.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import pytest

from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.flow import groups
from tasuki.flow.group_records import GroupPlan, GroupRecord, MemberEnd, value_of
from tasuki.state.shared import SharedState
from tasuki.testing.clock import VirtualTimeLoop
from tests.properties.test_steps import Gates

SEEDS = 300
THEN, ON_ERROR = GroupPlan("app:ends", fill=""), GroupPlan("app:errors", fill="")


class World:
    """One group and its members; ``total`` of them, the ``bad`` ones are given up."""

    def __init__(self, store: Any, chance: random.Random, total: int, bad: int, kills: float) -> None:
        self.store = store
        self.chance = chance
        self.total = total
        self.bad = bad
        self.kills = kills
        self.gates = Gates()
        self.published: list[tuple[str, Any]] = []
        self.cut = 0
        """Publishes that a kill has cut off from their records, so that they may come again."""

    def __getattr__(self, verb: str) -> Any:
        async def call(*args: Any, **named: Any) -> Any:
            await self.gates.wait()
            result = await getattr(self.store, verb)(*args, **named)
            await self.gates.wait()
            return result

        return call

    async def publish(self, plan: GroupPlan, id: str, value: Any) -> None:
        await self.gates.wait()
        self.published.append((id, value))
        await self.gates.wait()

    async def note(self, plan: GroupPlan, id: str, value: Any) -> None:
        self.published.append((id, value))

    async def end(self, number: int) -> None:
        store: Any = self
        error = {"message": f"{number}"} if number < self.bad else None
        await groups.Member(store, "g", number, self.publish, 0.0).end(MemberEnd(number, error))

    async def run(self) -> None:
        await groups.begin(self.store, "g", GroupRecord(self.total, "token", THEN, ON_ERROR), 0.0)
        left = {asyncio.create_task(self.end(number)): number for number in range(self.total)}
        while left:
            await asyncio.sleep(0.001)
            for task in [task for task in left if task.done()]:
                task.result()
                del left[task]
            waiting = list(self.gates.waiting)
            if not waiting:
                continue
            task = self.chance.choice(waiting)
            if self.chance.random() >= self.kills:
                self.gates.waiting[task].set_result(None)
                continue
            before = len(self.published)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            number = left.pop(task)
            self.cut += before > 0
            left[asyncio.create_task(self.end(number))] = number
        for number in range(self.bad):  # redriven, and given up again
            error = {"message": f"{number}"}
            await groups.Member(self.store, "g", number, self.note, 0.0).end(MemberEnd(number, error))


def simulate(seed: int, total: int, bad: int = 0, kills: float = 0.05) -> World:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:

        async def run() -> World:
            clock = asyncio.get_running_loop().clock  # type: ignore[attr-defined]
            driver = MemoryDriver("app:driver", clock=clock)
            await driver.open()
            store = await SharedState(driver, "state", clock).store()
            world = World(store, random.Random(seed), total, bad, kills)
            await world.run()
            left = [entry.key for entry in (await store.list("group/", limit=1000)).entries]
            assert ("group/g" in left) == bool(bad), left
            assert kills or bad or not left, left
            return world

        return runner.run(run())


@pytest.mark.parametrize("total", [1, 3, 64, 66])
def test_every_group_is_followed(total: int) -> None:
    for seed in range(SEEDS // total + 5):
        world = simulate(seed, total)
        assert {id for id, _ in world.published} == {"group:g"}, f"seed {seed}"
        assert all(value == list(range(total)) for _, value in world.published)
        # A kill after a publish and before its record repeats it, under the same id.
        assert len(world.published) <= 1 + world.cut, f"seed {seed}"


def test_without_kills_it_is_followed_once() -> None:
    for seed in range(SEEDS):
        world = simulate(seed, 4, kills=0)
        assert world.published == [("group:g", [0, 1, 2, 3])], f"seed {seed}"


def test_a_failure_is_told() -> None:
    for seed in range(SEEDS):
        world = simulate(seed, 4, bad=2)
        assert {id for id, _ in world.published} == {"group:g:error"}, f"seed {seed}"
        assert len(world.published) <= 1 + world.cut, f"seed {seed}"
        assert len(simulate(seed, 4, bad=2, kills=0).published) == 1


def test_a_result_is_read_as_it_was_kept() -> None:
    from tasuki.flow.group_records import Shard, results_of, with_done

    shard = with_done(Shard(), 0, MemberEnd({"a": [1, None]}), needs_result=True)
    assert value_of(shard.results[0]) == {"a": [1, None]}
    assert with_done(shard, 0, MemberEnd("again"), needs_result=True) is shard
    assert results_of(GroupRecord(1, "token", THEN), [shard], {}) == [{"a": [1, None]}]
