"""Sleeps, waits and signals under kills at every await: no sleep grows, no signal is lost, and no outcome changes.

Deliveries of one message, and the one that gives the signal, run side by side in virtual time. A scheduler lets one of
them go on at a time, up to its next call of the store or the broker, and kills or doubles some; a seed gives the order.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec, Received, Release, Settlement
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import HandlerError
from tasuki.flow.records import decode, run_key
from tasuki.flow.signals import Topic, Waiter, give, packed_value, waiters_of, wake
from tasuki.flow.steps import MessageSteps, Pausing
from tasuki.state.shared import SharedState
from tasuki.testing.clock import VirtualTimeLoop
from tests.properties.test_steps import Delivery, Gates

KEY, TOPIC = run_key("jobs", "1"), Topic("approved", "7")
SLEEP, TIMEOUT, POLL = 100.0, 300.0, 60.0
SLACK = 1.0
"""Seconds that the scheduler may lose: its own pauses are virtual time too."""
SEEDS = 150


class Gated:
    """A store or a driver, whose calls wait for a turn before and after."""

    def __init__(self, target: Any, gates: Gates) -> None:
        self._target = target
        self._gates = gates

    def __getattr__(self, verb: str) -> Any:
        found = getattr(self._target, verb)
        if not callable(found):
            return found

        async def call(*args: Any, **named: Any) -> Any:
            await self._gates.wait()
            result = await found(*args, **named)
            await self._gates.wait()
            return result

        return call


class State:
    """What MessageSteps needs of a state."""

    def __init__(self, store: Any, clock: Any) -> None:
        self.clock = clock
        self._store = store

    async def store(self) -> Any:
        return self._store


class World:
    """One message, and one signal for it; ``at``: when it is given, ``longest``: the broker's longest delay."""

    def __init__(self, driver: MemoryDriver, clock: Any, chance: random.Random, at: float, longest: float) -> None:
        self.driver, self.clock, self.chance, self.at, self.longest = driver, clock, chance, at, longest
        self.gates = Gates()
        self.kills = 0.0
        self.doubles = 0.0
        self.began: float = clock.time()
        self.running: dict[asyncio.Task[None], int] = {}
        """Deliveries, by receipt; their leases may have ended."""
        self.signaller: asyncio.Task[None] | None = None
        self.given_at: float | None = None
        """When the signal was surely in the store."""
        self.killed = 0
        self.effects: list[str] = []
        self.slept: list[float] = []
        self.outcomes: list[tuple[Any] | None] = []
        self.waited: list[float] = []
        self.untils: dict[str, set[float]] = {}

    def now(self) -> float:
        passed: float = self.clock.time() - self.began
        return passed

    async def open(self) -> None:
        await self.driver.declare(QueueSpec("jobs"))
        await self.driver.publish("jobs", [Outgoing("1", b"", {})])
        self.store = await SharedState(self.driver, "state", self.clock).store()

    async def handle(self, receipt: int) -> None:
        """As a worker: the handler, the settlement, and what follows it."""
        state: Any = State(Gated(self.store, self.gates), self.clock)
        pausing = Pausing(Waiter("jobs", "1"), self.longest, polls=True, is_woken=True)
        steps = MessageSteps(state, KEY, Delivery(), asyncio.get_running_loop(), pausing=pausing)
        try:
            left: float = await self.work(steps)
        except HandlerError as error:
            if error.kind != "Conflict":
                raise
            await self.end_lease(asyncio.current_task())  # if it is the one that has the message, it comes again
            return
        driver: Any = Gated(self.driver, self.gates)
        settlement: Settlement = Release(receipt, left) if left else Ack(receipt)
        if await driver.settle("jobs", [settlement]):
            return
        self.running.pop(asyncio.current_task(), None)  # type: ignore[arg-type]
        if left and await steps.is_signalled():
            await wake(driver, "jobs", ["1"])

    async def work(self, steps: MessageSteps) -> float:
        """The handler; seconds for which it pauses."""
        await self.step(steps, "a")
        if left := await steps.sleep(None, SLEEP):
            return left
        self.slept.append(self.now())
        left, signal = await steps.wait(None, *TOPIC, TIMEOUT)
        if left:
            return left
        self.outcomes.append(signal)
        self.waited.append(self.now())
        await self.step(steps, "b")
        return 0.0

    async def step(self, steps: MessageSteps, name: str) -> None:
        if await steps.begin(name) is None:
            self.effects.append(name)
            await steps.end(name, None)

    async def signal(self) -> None:
        """As ``app.signal``."""
        store, driver = Gated(self.store, self.gates), Gated(self.driver, self.gates)
        gated: Any = store
        await give(gated, TOPIC, packed_value(TOPIC, "yes"), "me")
        if self.given_at is None:
            self.given_at = self.now()
        found = await waiters_of(gated, TOPIC)
        await wake(driver, "jobs", [waiter.id for waiter in found])  # type: ignore[arg-type]

    async def note(self) -> None:
        """After each turn: the end of a pause is the one that was recorded first."""
        entry = await self.store.get(KEY)
        for pause in [] if entry is None else decode(entry.value).pauses:
            self.untils.setdefault(pause.name, set()).add(pause.until)

    async def run(self) -> None:
        tasks: set[asyncio.Task[None]] = set()
        while tasks or await self.is_left():
            if self.signaller is None and self.now() >= self.at:
                self.signaller = asyncio.create_task(self.signal())
                tasks.add(self.signaller)
            taken = await self.driver.receive("jobs", 1, 0)
            for message in taken:
                tasks.add(self.start(message))
            if taken or self.signaller in tasks:
                await asyncio.sleep(0)
            await self.turn()
            await self.note()
            for task in [task for task in tasks if task.done()]:
                tasks.discard(task)
                if not task.cancelled():
                    task.result()

    async def is_left(self) -> bool:
        """Whether the message is not acked yet."""
        depth = await self.driver.depth("jobs")
        return bool(depth.message_count)

    def start(self, message: Received) -> asyncio.Task[None]:
        receipt: Any = message.receipt
        task = asyncio.create_task(self.handle(receipt))
        self.running[task] = receipt
        return task

    async def turn(self) -> None:
        """Let one go on, or kill it, or end its lease, or let time pass."""
        await asyncio.sleep(0)
        waiting = list(self.gates.waiting)
        if not waiting:
            await asyncio.sleep(0.1)
            return
        task = self.chance.choice(waiting)
        if self.chance.random() < self.kills:
            self.killed += 1
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            if task is self.signaller:
                self.signaller = None  # its caller signals again
            await self.end_lease(task)
        elif self.chance.random() < self.doubles:
            self.killed += 1
            await self.end_lease(task)
        else:
            self.gates.waiting[task].set_result(None)
            for _ in range(4):
                await asyncio.sleep(0)

    async def end_lease(self, task: asyncio.Task[None] | None) -> None:
        if task is not None and (receipt := self.running.pop(task, None)) is not None:
            await self.driver.settle("jobs", [Release(receipt)])


def simulate(
    seed: int, at: float, *, kills: float = 0.0, doubles: float = 0.0, longest: float = 1e9,
    prepare: Callable[[World], None] = lambda world: None,
) -> World:  # fmt: skip
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:

        async def run() -> World:
            clock = asyncio.get_running_loop().clock  # type: ignore[attr-defined]
            driver = MemoryDriver("app:driver", clock=clock)
            await driver.open()
            world = World(driver, clock, random.Random(seed), at, longest)
            world.kills, world.doubles = kills, doubles
            prepare(world)
            await world.open()
            async with asyncio.timeout(10_000):
                await world.run()
            return world

        return runner.run(run())


def check(world: World) -> None:
    assert set(world.effects) == {"a", "b"}
    assert all(len(untils) == 1 for untils in world.untils.values()), "a pause was begun twice"
    assert world.slept[0] >= SLEEP
    assert all(outcome == world.outcomes[0] for outcome in world.outcomes), "each run has the same outcome"
    (until,) = world.untils["sleep 1"]
    assert world.slept[0] <= until - world.began + SLACK, "nothing lengthens a sleep"
    began, ended = world.slept[0], world.waited[0]
    if world.outcomes[0] is None:
        assert ended - began >= TIMEOUT - SLACK
        assert world.given_at is None or world.given_at >= ended - SLACK, "a signal was lost"
        return
    assert world.outcomes[0] == ("yes",)
    assert world.given_at is not None
    # A kill may take the waking with it: then the message looks by itself.
    allowed = SLACK + (POLL + SLACK) * (world.killed > 0)
    assert ended <= max(began, world.given_at) + allowed, "the signal has not woken the message"


@pytest.mark.parametrize("kills", [0.0, 0.02, 0.1])
def test_random_orders(kills: float) -> None:
    outcomes = []
    for seed in range(SEEDS):
        at = random.Random(seed).choice([0.0, 50.0, SLEEP, SLEEP + 0.1, 150.0, 399.9, 400.0, 400.1, 500.0])
        world = simulate(seed, at, kills=kills, doubles=kills / 2)
        try:
            check(world)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
        outcomes.append(world.outcomes[0])
    assert {None, ("yes",)} <= set(outcomes), "the simulation has met both"


@pytest.mark.parametrize("at", [0.0, SLEEP + 0.05, 200.0])
def test_a_kill_at_each_await(at: float) -> None:
    for turn in range(60):
        turns = iter(range(100_000))

        def prepare(world: World, turn: int = turn, turns: Any = turns) -> None:
            world.chance.random = lambda: 0.0 if next(turns) == turn * 2 else 1.0  # type: ignore[method-assign]
            world.kills = 0.5

        world = simulate(turn, at, prepare=prepare)
        check(world)
        assert len(world.effects) <= 3, "one kill repeats one step at most"


def test_a_long_sleep_has_parts() -> None:
    world = simulate(1, 0.0, longest=30.0)
    check(world)
    world = simulate(1, 500.0, longest=7.0, kills=0.05)
    check(world)
