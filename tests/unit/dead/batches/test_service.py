"""Batches go on without the process that began them, and cost nothing where there is none."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.app.batches import Batches
from tasuki.app.handle import QueueHandle
from tasuki.app.state.finding import is_there
from tasuki.contracts.driver import Capabilities, Release
from tasuki.dead.batches import service
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerUnavailableError, UnsupportedError
from tests.unit.dead.batches.letters import bury, ids, many

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True
Queues = dict[str, QueueHandle[Any]]


async def handle(body: Any) -> None: ...


async def test_a_worker_goes_on_with_a_batch_that_was_left_to_it(app: App, queues: Queues) -> None:
    queues["other"].consumer(handle)
    async with app.worker():
        await bury(app, *many(150))
        batch = await app.dead.batches.begin("retry", "dead", canary=None, drive=False)
        done = await app.dead.batches.wait(batch.id)
        assert (done.done, done.runner) == (150, app._runtime.live().batching.holder)
        state = app._runtime.live().state_of("app:dead")
        assert state is not None
        await asyncio.sleep(1)
        assert list(state.controls.under("batch/")) == [], "nothing is left to be told"


async def test_the_worker_waits_for_the_lease_of_another(app: App, queues: Queues) -> None:
    queues["other"].consumer(handle)
    async with app.worker():
        await bury(app, *many(150))
        state = app._runtime.live().state_of("app:dead")
        assert state is not None
        store = await state.store()
        batch = await app.dead.batches.begin("retry", "dead", canary=None, drive=False)
        assert await store.hold(f"batch/{batch.id}", "another", places=1, lease=20.0)
        await asyncio.sleep(15)
        assert (await app.dead.batches.get(batch.id)).done == 0
        await asyncio.sleep(10)
        assert (await app.dead.batches.get(batch.id)).done > 0


async def test_a_batch_of_another_project_is_left_alone(app: App, tmp_path: Path) -> None:
    async with app:
        await bury(app, "a")
        batch = await app.dead.batches.begin("retry", "dead", drive=False)
        live = app._runtime.live()
        del live.queues["app:dead"]
        live.batching.take(live.states.of(live.drivers["app:driver"]), batch.id)
        await asyncio.sleep(20)
        assert (await app.dead.batches.get(batch.id)).state == "running"
        state = live.states.of(live.drivers["app:driver"])
        assert await (await state.store()).get(f"control/batch/{batch.id}"), "its own processes still hear of it"


async def test_a_broker_that_is_away_is_tried_again(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = MemoryDriver.transfer, []

    async def transfer(self: MemoryDriver, queue: str, batch: Any) -> Any:
        calls.append(len(batch))
        if len(calls) < 4:
            raise BrokerUnavailableError("away")
        return await real(self, queue, batch)

    monkeypatch.setattr(MemoryDriver, "transfer", transfer)
    async with app:
        await bury(app, *many(30))
        batch = await app.dead.batches.wait((await app.dead.batches.begin("retry", "dead", rate=0)).id)
        assert (batch.done, batch.state, batch.problem) == (30, "done", "")
        assert await ids(app, "jobs") == many(30)


async def test_a_broker_that_stays_away_is_a_failed_batch_that_can_be_resumed(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(self: MemoryDriver, queue: str, batch: Any) -> Any:
        raise BrokerUnavailableError("away")

    async with app:
        await bury(app, *many(30))
        with monkeypatch.context() as patch:
            patch.setattr(MemoryDriver, "transfer", away)
            batch = await app.dead.batches.wait((await app.dead.batches.begin("retry", "dead", rate=0)).id)
        assert (batch.state, "away" in batch.problem) == ("failed", True)
        await app.dead.batches.resume(batch.id)
        done = await app.dead.batches.wait(batch.id)
        assert (done.state, done.done) == ("done", 30)


async def test_a_full_queue_is_waited_for_and_a_letter_that_fits_nowhere_stays(app: App) -> None:
    app.queue("small", max_length=10, dead_letter="dead")
    async with app:
        await bury(app, *many(15), queue="app:small")
        batch = await app.dead.batches.begin("retry", "dead", rate=0)
        await asyncio.sleep(5)
        assert (await app.dead.batches.get(batch.id)).done == 10
        assert len(await ids(app, "dead")) == 5
        await app._runtime.queue("small").purge()
        done = await app.dead.batches.wait(batch.id)
        assert (done.state, done.done, done.stayed) == ("done", 15, 0)


async def test_a_driver_that_moves_nothing_in_one_step(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    less: Capabilities = MemoryDriver.capabilities.without("transfer")
    monkeypatch.setattr(MemoryDriver, "capabilities", less)
    async with app:
        await bury(app, *many(150))
        await bury(app, "x", queue="app:gone")
        batch = await app.dead.batches.wait((await app.dead.batches.begin("retry", "dead", rate=0, canary=None)).id)
        assert (batch.done, batch.stayed, batch.can_undo, batch.atomic) == (150, 1, False, False)
        assert (await ids(app, "jobs"), await ids(app, "dead")) == (many(150), ["x"])
        some = await app.dead.batches.begin("move", "jobs", to="dead", where="id > 'm0100'", limit=20)
        assert (await app.dead.batches.wait(some.id)).done == 20
        gone = await app.dead.batches.wait((await app.dead.batches.begin("delete", "jobs", ids=["m0003", "m0007"])).id)
        assert (gone.done, gone.can_undo) == (2, False)
        left = await ids(app, "jobs")
        assert left == [id for id in many(150) if id not in {"m0003", "m0007"} and not "m0100" < id <= "m0120"]


async def test_held_letters_do_not_come_again_while_a_slow_batch_waits(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is transferred, letters that are not chosen are held, here for longer than a lease of 30 s."""
    renewed: list[tuple[float, int]] = []

    async def extend(self: MemoryDriver, queue: str, batch: Any, lease: float) -> list[Any]:
        renewed.append((app._runtime.clock.monotonic(), len(batch)))
        return []

    monkeypatch.setattr(MemoryDriver, "extend", extend)
    monkeypatch.setattr(MemoryDriver, "capabilities", MemoryDriver.capabilities.without("transfer").also("leases"))
    async with app:
        await bury(app, *many(4), error="E: no")
        await bury(app, "x", "y", error="E: yes")
        began = app._runtime.clock.monotonic()
        batch = await app.dead.batches.begin("retry", "dead", where="error == 'E: yes'", rate=0.01, canary=None)
        batch = await app.dead.batches.wait(batch.id)
        assert (batch.done, batch.seen) == (2, 4)
        times = [began, *(at for at, _ in renewed), app._runtime.clock.monotonic()]
        assert len(renewed) > 15
        assert max(after - before for before, after in pairwise(times)) < 15
        assert {count for _, count in renewed} == {4}


async def test_chosen_letters_are_found_behind_others_that_were_held_as_it_began(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they are after a page of letters was borrowed: a broker has released letters back a moment later."""
    monkeypatch.setattr(MemoryDriver, "capabilities", MemoryDriver.capabilities.without("transfer"))
    async with app:
        await bury(app, "a", "b", "c", "d")
        dead = app._runtime.queue("dead")
        held = await dead.driver.receive(dead.spec.name, 3, 1.0)
        batch = await app.dead.batches.begin("retry", "dead", ids=["d"], canary=None, drive=False)
        await dead.driver.settle(dead.spec.name, [Release(each.receipt) for each in reversed(held)])
        await app.dead.batches.resume(batch.id)
        assert (await app.dead.batches.wait(batch.id)).done == 1
        assert (await ids(app, "jobs"), await ids(app, "dead")) == (["d"], ["a", "b", "c"])


async def test_without_a_state(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryDriver, "capabilities", MemoryDriver.capabilities.without("store"))
    async with app:
        with pytest.raises(UnsupportedError, match="has no state, which a batch needs"):
            await app.dead.batches.begin("retry", "dead")
        assert list(await app.dead.batches.list()) == []


async def test_a_process_with_nothing_to_do_asks_nobody(app: App, queues: Queues) -> None:
    queues["other"].consumer(handle)
    async with app.worker():
        live = app._runtime.live()
        batching = live.batching
        assert not batching._tasks
        batching.follow(partial(is_there, live))
        await asyncio.sleep(1)
        assert not batching._tasks


async def test_one_who_has_the_rights_acts_for_the_application(app: App) -> None:
    async with app:
        await bury(app, "a")
        batches = Batches(app._runtime.live, actor="ana", is_permitted=True)
        batch = await batches.wait((await batches.begin("retry", "app:dead")).id)
        assert (batch.actor, batch.is_permitted, batch.done) == ("ana", True, 1)


async def test_a_store_that_is_away_is_tried_again(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    async with app:
        await bury(app, "a")
        live = app._runtime.live()
        state = live.state_of("app:dead")
        assert state is not None
        batch = await app.dead.batches.begin("retry", "dead", drive=False)
        real, tries = state.store, []

        async def store() -> Any:
            tries.append(1)
            if len(tries) < 3:
                raise BrokerUnavailableError("away")
            return await real()

        monkeypatch.setattr(state, "store", store)
        live.batching.take(state, batch.id)
        await asyncio.sleep(2 * service._PAUSE + 1)
        assert (await app.dead.batches.get(batch.id)).done == 1


async def test_an_order_at_the_end_of_the_last_look_is_not_lost(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    look = service.BatchService._look
    looked: list[str] = []

    async def last(self: service.BatchService, host: Any, state: Any, id: str, told: Any) -> float:
        wait = await look(self, host, state, id, told)
        if not wait and not looked:
            looked.append(id)
            await app.dead.batches.resume(id, drive=False)
            asyncio.get_running_loop().call_soon(self.take, state, id)  # when the task has ended, before it is cleared
        return wait

    async with app:
        await bury(app, *many(30))
        batch = await app.dead.batches.begin("retry", "dead", rate=0, canary=None, drive=False)
        await app.dead.batches.pause(batch.id)
        monkeypatch.setattr(service.BatchService, "_look", last)
        live = app._runtime.live()
        state = live.state_of("app:dead")
        assert state is not None
        live.batching.take(state, batch.id)
        await asyncio.sleep(60)
        assert looked == [batch.id]
        assert (await app.dead.batches.get(batch.id)).state == "done"
