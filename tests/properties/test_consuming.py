"""Hundreds of schedules of consumers, faults and handlers in virtual time; a seed that fails is printed."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator

import pytest

from tasuki.testing.clock import VirtualTimeLoop, virtual_time
from tests.properties.consuming import Simulation, World

SEEDS = int(os.environ.get("SEEDS", "150"))
STEP = 50


def run(seed: int, *, faults: bool) -> Simulation:
    async def simulate() -> Simulation:
        import asyncio

        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        simulation = Simulation(World(seed, faults=faults), loop.clock)
        await simulation.run()
        return simulation

    random.seed(seed)  # for the jitter of waits
    try:
        with virtual_time() as runner:
            return runner.run(simulate())
    except BaseException:
        print(f"seed {seed}, faults {faults}")
        raise


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Failures are the subject here: thousands of warnings would only take time."""
    logging.getLogger("tasuki.consumer").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("tasuki.consumer").setLevel(logging.NOTSET)


@pytest.mark.parametrize("start", range(0, SEEDS // 2, STEP))
def test_without_faults_every_message_ends_exactly_as_its_policy_says(start: int) -> None:
    for seed in range(start, start + STEP):
        run(seed, faults=False)


@pytest.mark.parametrize("start", range(0, SEEDS, STEP))
def test_with_faults_nothing_is_lost_nor_settled_twice(start: int) -> None:
    simulations = [run(seed, faults=True) for seed in range(start, start + STEP)]
    assert sum(simulation.kills for simulation in simulations) > 5
    assert sum(simulation.thefts for simulation in simulations) > 2
    assert sum(simulation.late_stops for simulation in simulations) > 5


def test_one_seed_is_one_schedule() -> None:
    first, second = run(7, faults=True), run(7, faults=True)
    assert first.ran == second.ran
    assert [body for body, _ in first.ran]
