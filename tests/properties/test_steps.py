"""Steps under kills at every await: no step that is recorded runs again, and no worker without its lease goes on.

Deliveries of one message run side by side. A scheduler lets one of them go on at a time, up to its next call of the
store, and kills or doubles some; a seed gives the order.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from tasuki.contracts.state.store import Entry, Store
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import HandlerError
from tasuki.flow.records import decode, run_key
from tasuki.flow.steps import MessageSteps
from tasuki.state.shared import SharedState
from tasuki.testing.clock import VirtualTimeLoop

KEY = run_key("jobs", "1")
NAMES = ("a", "b", "c", "d")
SEEDS = 400


class Gates:
    """Where the deliveries wait for their turns."""

    def __init__(self) -> None:
        self.waiting: dict[asyncio.Task[Any], asyncio.Future[None]] = {}

    async def wait(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.waiting[task] = asyncio.get_running_loop().create_future()
        try:
            await self.waiting[task]
        finally:
            del self.waiting[task]


class Slow:
    """The store, whose calls wait for a turn before and after."""

    def __init__(self, store: Store, state: State) -> None:
        self._store = store
        self._state = state

    def __getattr__(self, verb: str) -> Any:
        async def call(*args: Any, **named: Any) -> Any:
            world = self._state.world
            await world.gates.wait()
            result = await getattr(self._store, verb)(*args, **named)
            if verb == "put" and self._state.known is None:
                self._state.known = set(world.results)
            await world.gates.wait()
            return result

        return call


class State:
    """What MessageSteps needs of a state; ``known``: the steps that were recorded when it took the record over."""

    def __init__(self, world: World) -> None:
        self.clock = world.state.clock
        self.world = world
        self.known: set[str] | None = None

    async def store(self) -> Any:
        return Slow(await self.world.state.store(), self)


class Delivery:
    lost = settled = in_transaction = False

    def log_fields(self) -> dict[str, Any]:
        return {}


class World:
    """One message, its record, and what its deliveries have done."""

    def __init__(self, state: SharedState, random_: random.Random, doubles: float) -> None:
        self.state = state
        self.doubles = doubles
        """How likely the lease is lost at each turn."""
        self.gates = Gates()
        self.random = random_
        self.effects: list[str] = []
        self.results: dict[str, Any] = {}
        """As they were recorded first."""
        self.ends: list[Any] = []
        self.fenced = 0
        self.wrong: list[str] = []
        self.killed: Callable[[], bool] = lambda: False

    async def entry(self) -> Entry | None:
        return await (await self.state.store()).get(KEY)

    async def note(self) -> None:
        """After each turn: a recorded result never changes, and is never lost."""
        entry = await self.entry()
        found = {} if entry is None else {step.name: bytes(step.result) for step in decode(entry.value).steps}
        for name, result in self.results.items():
            if found.get(name) != result:
                self.wrong.append(f"the result of {name} has changed from {result!r} to {found.get(name)!r}")
        self.results = found

    def handle(self) -> Coroutine[Any, Any, None]:
        state: Any = State(self)
        return self._handle(state, MessageSteps(state, KEY, Delivery(), asyncio.get_running_loop()))

    async def _handle(self, state: State, steps: MessageSteps) -> None:
        results = []
        try:
            for name in NAMES:
                found = await steps.begin(name)
                if found is None:
                    if name in (state.known or ()):
                        self.wrong.append(f"{name} runs again, although its record was there")
                    await self.gates.wait()
                    self.effects.append(name)
                    found = (len(self.effects),)
                    await steps.end(name, found[0])
                results.append(found[0])
        except HandlerError as error:
            self.fenced += error.kind == "Conflict"
        else:
            self.ends.append(results)

    async def run(self) -> None:
        """Let deliveries go on until one has ended, and all others too."""
        tasks = [asyncio.create_task(self.handle())]
        while not self.ends or any(not task.done() for task in tasks):
            while not self.gates.waiting and any(not task.done() for task in tasks):
                await asyncio.sleep(0.001)
            live = [task for task in tasks if not task.done()]
            if not live or (not self.ends and len(tasks) < 12 and self.random.random() < self.doubles):
                tasks.append(asyncio.create_task(self.handle()))  # it comes again, or its lease is lost
                await asyncio.sleep(0)
            elif self.gates.waiting:
                task = self.random.choice(list(self.gates.waiting))
                if self.killed():
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task
                else:
                    self.gates.waiting[task].set_result(None)
                    await asyncio.sleep(0)
                    while task not in self.gates.waiting and not task.done():
                        await asyncio.sleep(0.001)
            await self.note()


def simulate(seed: int, killed: Callable[[], bool] | None = None, doubles: float = 0.05) -> World:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:

        async def run() -> World:
            clock = asyncio.get_running_loop().clock  # type: ignore[attr-defined]
            driver = MemoryDriver("app:driver", clock=clock)
            await driver.open()
            chance = random.Random(seed)
            world = World(SharedState(driver, "state", clock), chance, doubles)
            world.killed = killed or (lambda: chance.random() < 0.08)
            await world.run()
            return world

        return runner.run(run())


def check(world: World) -> None:
    assert not world.wrong
    assert sorted(world.results) == sorted(NAMES)
    for results in world.ends:
        assert len(results) == len(NAMES)


def test_random_schedules() -> None:
    worlds = []
    for seed in range(SEEDS):
        worlds.append(simulate(seed))
        try:
            check(worlds[-1])
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
    # The simulation has met what it is for.
    assert sum(world.fenced for world in worlds) > SEEDS / 10
    assert sum(Counter(world.effects).most_common(1)[0][1] > 1 for world in worlds) > SEEDS / 10


@pytest.mark.parametrize("at", range(40))
def test_a_kill_at_each_await(at: int) -> None:
    turns = iter(range(10_000))
    world = simulate(0, lambda: next(turns) == at, doubles=0)
    check(world)
    assert len(world.effects) <= len(NAMES) + 1, "one kill repeats one step at most"
