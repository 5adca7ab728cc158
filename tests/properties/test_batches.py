"""Batches under kills at every await: no letter is lost, none is moved twice, and the counts are true at the end.

Two processes drive one batch on a memory driver. A seed says at which of their calls they die or stand still for
longer than their lease, when the wall clock jumps, which letters fail again, and what a person orders meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from tasuki import App
from tasuki.app.assembly import Assembly
from tasuki.clock import Clock
from tasuki.contracts.driver import Ack, Outgoing, Transfer
from tasuki.dead.batch import Batch
from tasuki.dead.batches.batch_store import BatchStore
from tasuki.dead.batches.running import run
from tasuki.errors import BatchStateError
from tasuki.message import BATCH, Message
from tasuki.queues.dead_letter import dead_letter
from tasuki.testing.clock import VirtualTimeLoop

DEAD, JOBS = "dead", "jobs"
"""Their names at the broker."""
SEEDS = 4000 if os.environ.get("CAMPAIGN") else 150


class WallClock:
    """Of the processes: its wall time is set off. The store has its own clock."""

    def __init__(self, clock: Clock) -> None:
        self.monotonic, self.boottime, self._time = clock.monotonic, clock.boottime, clock.time
        self.off = 0.0

    def time(self) -> float:
        return self._time() + self.off


class KilledError(BaseException):
    """The process is dead."""


class Life:
    """Of one process: it dies at one of its calls, or stands still there."""

    def __init__(self, world: World, calls: int | None, *, stands: bool) -> None:
        self._world, self._left, self._stands = world, calls, stands

    async def step(self) -> None:
        await asyncio.sleep(self._world.chance.choice((0.0, 0.001, 0.05)))
        if self._left is None:
            return
        self._left -= 1
        if self._left == 0 and self._stands:
            await asyncio.sleep(25.0)
        elif self._left <= 0 and not self._stands:
            raise KilledError


class Mortal:
    """An object whose calls a process makes that may die before or after each of them."""

    def __init__(self, real: Any, life: Life, world: World) -> None:
        self._real, self._life, self._world = real, life, world

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def call(*args: Any, **named: Any) -> Any:
            await self._life.step()
            result = await found(*args, **named)
            if name == "transfer":
                self._world.note(args[1], result)
            await self._life.step()
            return result

        return call


class World:
    """A project with dead letters, and what happens to them."""

    def __init__(self, seed: int, loop: VirtualTimeLoop) -> None:
        self.chance = random.Random(seed)
        self.clock = WallClock(loop.clock)
        self.app = App("memory://", clock=loop.clock)
        self.app.queue("dead")
        self.app.queue("jobs", dead_letter="dead")
        self.stands = seed % 3 == 0
        self.act = "delete" if seed % 5 == 1 else "retry"
        self.letters = self.chance.choice((1, 40, 99, 100, 101, 180, 260))
        self.arrived: Counter[str] = Counter()
        self.brought: Counter[str] = Counter()
        self.handled: Counter[str] = Counter()
        self.fails = set() if self.stands else {f"m{n}" for n in range(self.letters) if self.chance.random() < 0.05}
        self.was_ordered: list[str] = []

    @property
    def live(self) -> Assembly:
        return self.app._runtime.live()

    def note(self, batch: list[Transfer], answers: list[Any]) -> None:
        """Count the transfers that happened."""
        for transfer, answer in zip(batch, answers or [None] * len(batch), strict=True):
            if answer is None:
                (self.brought if transfer.to == DEAD else self.arrived)[transfer.id] += 1

    async def bury(self) -> None:
        for number in range(self.letters):
            letter = self.dead(Message(f"m{number}", b"{}", {}), f"E{number % 2}: a")
            assert not any(await self.app._runtime.queue("dead").forward([letter]))

    def dead(self, message: Message, error: str) -> Outgoing:
        now = self.clock.time()
        return dead_letter(message, queue="app:jobs", reason="rejected", error=error, attempts=3, now=now,
                           content_type="json/plain")  # fmt: skip

    async def consume(self) -> None:
        """Handlers: some messages are handled, some fail again."""
        driver = self.live.drivers["app:driver"]
        while True:
            await asyncio.sleep(self.chance.choice((0.01, 0.5, 3.0)))
            for received in await driver.receive(JOBS, self.chance.randint(1, 30), 0.0):
                if received.id in self.fails:
                    await self.app._runtime.queue("dead").forward([self.dead(received, "E0: again")])
                else:
                    self.handled[received.id] += 1
                await driver.settle(JOBS, [Ack(received.receipt)])

    async def jump(self) -> None:
        """The wall clock is set off."""
        while True:
            await asyncio.sleep(self.chance.uniform(0.1, 20.0))
            self.clock.off += self.chance.choice((-3600.0, -1.0, 1.0, 60.0))

    async def order(self, id: str) -> None:
        """A person orders this and that."""
        for _ in range(self.chance.randint(0, 3)):
            await asyncio.sleep(self.chance.uniform(0.0, 5.0))
            order = self.chance.choice(("pause", "resume", "cancel", "undo", "pause", "resume"))
            with suppress(BatchStateError):
                await getattr(self.app.dead.batches, order)(
                    id, **({} if order in ("pause", "cancel") else {"drive": False})
                )
                self.was_ordered.append(order)

    async def process(self, id: str) -> None:
        """Processes that drive the batch, one after another."""
        state = self.live.state_of("app:dead")
        assert state is not None
        lives = self.chance.randint(0, 4)
        while True:
            life = Life(self, self.chance.randint(1, 60) if lives else None, stands=self.stands)
            lives = max(lives - 1, 0)
            host, batches = self.seen_by(life), BatchStore(Mortal(await state.store(), life, self))  # type: ignore[arg-type]
            holder = f"{self.chance.random()}"
            with suppress(KilledError):
                while (await batches.found(id))[0].is_driven:
                    await asyncio.sleep(min(await run(host, batches, id, holder, self.clock), 5.0))
                return
            await asyncio.sleep(self.chance.uniform(0.0, 3.0))

    def seen_by(self, life: Life) -> Assembly:
        """The project, with the driver as a mortal process calls it."""
        import copy

        live = copy.copy(self.live)
        driver = Mortal(live.drivers["app:driver"], life, self)
        live.queues = {id: copy.copy(queue) for id, queue in live.queues.items()}
        for queue in live.queues.values():
            queue.driver = driver  # type: ignore[assignment]
        return live


async def live_through(world: World) -> tuple[Batch, list[Message], list[Message], list[Message]]:
    """Begin a batch, let its processes die, and return it with the messages of the queues at its end."""
    app = world.app
    async with app:
        await world.bury()
        rate = world.chance.choice((0.0, 10.0, 100.0))
        where = world.chance.choice(("", "", 'error startsWith "E0"'))
        batch = await app.dead.batches.begin(world.act, "dead", where=where, rate=rate, canary=None, drive=False)  # type: ignore[arg-type]
        assert batch.total == (world.letters if not where else (world.letters + 1) // 2)
        beside = [world.jump(), world.order(batch.id)] + ([world.consume()] if world.chance.random() < 0.6 else [])
        tasks = [asyncio.ensure_future(work) for work in beside]
        await asyncio.gather(world.process(batch.id), world.process(batch.id))
        await tasks[1]
        while (batch := await app.dead.batches.get(batch.id)).state in ("paused", "running", "undoing"):
            if batch.state == "paused":
                await app.dead.batches.resume(batch.id, drive=False)
            await world.process(batch.id)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(each is None or isinstance(each, asyncio.CancelledError) for each in ended), ended
        driver = world.live.drivers["app:driver"]
        trash = await driver.peek(DEAD + ".trash", 1000) if world.arrived and world.act == "delete" else []
        return batch, await driver.peek(DEAD, 1000), await driver.peek(JOBS, 1000), trash


@pytest.mark.parametrize("part", range(10))
def test_no_letter_is_lost_or_moved_twice_and_the_counts_are_true(part: int) -> None:
    for seed in range(part, SEEDS, 10):
        loop = VirtualTimeLoop()
        try:
            world = World(seed, loop)
            batch, dead, jobs, trash = loop.run_until_complete(live_through(world))
        finally:
            loop.close()
        about = f"seed {seed}: {batch}, ordered {world.was_ordered}"
        copies = Counter(message.id for message in (*dead, *jobs, *trash)) + world.handled
        assert copies == Counter(f"m{number}" for number in range(world.letters)), about
        assert not any(count > 1 for count in world.arrived.values()), f"{about}: {world.arrived.most_common(3)}"
        if world.stands and "undo" in world.was_ordered:
            # Who stands still between its last check of its lease and the broker moves letters after the undo.
            continue
        assert batch.moved - batch.unsure <= len(world.arrived) <= batch.moved + batch.unsure, about
        if batch.state in ("done", "undone"):
            assert (batch.moved, batch.undone, batch.unsure) == (len(world.arrived), sum(world.brought.values()), 0), (
                about
            )
        if batch.state == "done":
            assert batch.moved == batch.total, about
            assert batch.left == 0
        if batch.state == "undone":
            assert not [each for each in (*jobs, *trash) if each.headers.get(BATCH) == batch.id], about
