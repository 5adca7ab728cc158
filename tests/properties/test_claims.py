"""Claims of an idempotency key, whatever the order of their writes: each write takes nothing from another delivery.

Deliveries of two messages with one key run side by side. Each verb of the store takes some time, and now and then more
than a claim lasts, as of a worker that stands still. Every write is compared with what it replaces; a seed gives the
order.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tasuki.consumers.handling.idempotency import Claim, OnceRecord, decode
from tasuki.consumers.jobs.idempotent import _Held
from tasuki.contracts.driver import Received
from tasuki.contracts.handler import Snooze
from tasuki.contracts.state.store import Store
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import ConflictError
from tasuki.state.shared import SharedState
from tasuki.testing.clock import VirtualTimeLoop

CLAIM = Claim("jobs/c/", "x", 3600.0)
LASTS = 30.0
FROZEN = 45.0
SLOW = 0.2
MESSAGES, ATTEMPTS = ("a", "b"), 3
SEEDS = 150


class World:
    """The store of all deliveries, and what went wrong."""

    def __init__(self, store: Store, clock: Any, chance: random.Random) -> None:
        self.store, self.clock, self.chance = store, clock, chance
        self.scale = chance.choice((0.3, 10.0))
        """Seconds between two events, about: close together, or as long as claims last."""
        self.wrong: list[str] = []
        self.runs = self.taken_over = self.refused = self.repeated = 0

    async def record(self) -> OnceRecord | None:
        found = await self.store.get(CLAIM.place)
        return None if found is None else decode(found.value)


class Delivery:
    """One delivery of a message, as the state and the store of its claim."""

    def __init__(self, world: World, message: str, attempt: int) -> None:
        self.world, self.message, self.attempt = world, message, attempt
        self.clock = world.clock
        self.opened: Any = self
        self.begins = True
        self.held = _Held(self, CLAIM, Received(message, b"", {}, 0, attempt), LASTS, world.clock)  # type: ignore[arg-type]

    async def store(self) -> Any:
        return self

    async def get(self, key: str) -> Any:
        await self._pause()
        found = await self.world.store.get(key)
        await self._pause()
        return found

    async def put(self, key: str, value: bytes, **named: Any) -> int:
        await self._pause()
        before = await self.world.record()
        version = await self.world.store.put(key, value, **named)
        if before is not None and not self._may_replace(before, decode(value)):
            self.world.wrong.append(f"{decode(value)} was written over {before}")
        await self._pause()
        return version

    async def delete(self, key: str, **named: Any) -> bool:
        await self._pause()
        before = await self.world.record()
        is_deleted = await self.world.store.delete(key, **named)
        if before is not None and is_deleted and (before.owner != self.held._owner or before.is_done):
            self.world.wrong.append(f"{before} was deleted by {self.held._owner}")
        await self._pause()
        return is_deleted

    async def _pause(self) -> None:
        is_frozen = self.world.chance.random() < 0.04
        await asyncio.sleep(FROZEN if is_frozen else self.world.chance.random() * SLOW)

    def _may_replace(self, before: OnceRecord, after: OnceRecord) -> bool:
        if before.owner == self.held._owner:
            return after.is_done or not before.is_done
        is_own = before.message == self.message and before.attempt < self.attempt
        self.world.taken_over += self.begins
        return self.begins and is_own and not before.is_done

    async def run(self) -> None:
        """Claim the key, renew the claim for some time, and record the end, free the key, or die."""
        while True:
            try:
                if await self.held.begin() is not None:
                    self.world.repeated += 1
                    return
                break
            except Snooze:
                await asyncio.sleep(5)
            except ConflictError:
                return
        self.begins = False
        self.world.runs += 1
        renewals = []
        for _ in range(self.world.chance.randrange(4)):
            renewals.append(asyncio.create_task(self.held.renew()))
            await asyncio.sleep(self.world.chance.random() * self.world.scale)
        self.held.is_over = True
        match self.world.chance.choice(("done", "done", "failed", "dead")):
            case "done":
                self.world.refused += not await self.held.end(b"")
            case "failed":
                await self.held.free()
        await asyncio.gather(*renewals, self.held.renew())


def simulate(seed: int) -> World:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:

        async def run() -> World:
            clock = asyncio.get_running_loop().clock  # type: ignore[attr-defined]
            driver = MemoryDriver("app:driver", clock=clock)
            await driver.open()
            chance = random.Random(seed)
            world = World(await SharedState(driver, "state", clock).store(), clock, chance)

            async def deliver(message: str) -> None:
                """The next one comes while this one runs, as its lease is lost, or after it."""
                deliveries = []
                for attempt in range(1, ATTEMPTS + 1):
                    deliveries.append(asyncio.create_task(Delivery(world, message, attempt).run()))
                    await asyncio.sleep(chance.random() * 2 * world.scale)
                await asyncio.gather(*deliveries)

            await asyncio.gather(*map(deliver, MESSAGES))
            return world

        return runner.run(run())


def test_no_write_of_a_claim_takes_anything_from_another_delivery() -> None:
    worlds = []
    for seed in range(SEEDS):
        worlds.append(simulate(seed))
        assert worlds[-1].wrong == [], f"seed {seed}"
    # The simulation has met what it is for.
    assert sum(world.runs for world in worlds) > 2 * SEEDS
    assert sum(world.taken_over for world in worlds) > SEEDS / 4
    assert sum(world.refused for world in worlds) > SEEDS / 10
    assert sum(world.repeated for world in worlds) > SEEDS / 2
