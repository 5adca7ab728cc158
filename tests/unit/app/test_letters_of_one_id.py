"""Dead letters that have one id: each can be acted on alone, and none is lost to another one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tasuki import App
from tasuki.contracts.driver import Ack, Outgoing
from tasuki.contracts.values import Ability
from tasuki.dead.walk import Walk
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.queues.dead.letter import name_of

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

WAYS: dict[str, tuple[Ability, ...]] = {
    "transfer": (),
    "peek": ("transfer", "find"),
    "receive": ("transfer", "find", "peek"),
}
"""As drivers that move by name, as NATS does, and as RabbitMQ and SQS do."""


@pytest.fixture(params=WAYS)
def app(make_app: Callable[..., App], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    with monkeypatch.context() as patch:
        patch.setattr(MemoryDriver, "capabilities", MemoryDriver.capabilities.without(*WAYS[request.param]))
        app = make_app()
        app.queue("dead")
        app.queue("tasks", dead_letter="dead")
        yield app


async def bury(app: App, *bodies: bytes, id: str = "a", **headers: Any) -> list[str]:
    """Letters of one id; returns their names."""
    own: dict[str, Any] = {"x_original_queue": "app:tasks", "x_dead_letter_reason": "rejected", "x_last_error": "no"}
    own |= {"attempts": 3, "content_type": "json/plain", **headers}
    letters = [Outgoing(id, body, dict(own)) for body in bodies]
    assert not any(await app._runtime.queue("dead").forward(letters))
    return [name_of(letter) for letter in letters]


async def bodies(app: App, queue: str) -> list[bytes]:
    """Of the waiting messages, whatever the driver shows."""
    live = app._runtime.queue(queue)
    return [each.body for each in await MemoryDriver.peek(live.driver, live.spec.name, 100)]  # type: ignore[arg-type]


async def test_one_of_them_goes_back_by_its_name(app: App) -> None:
    async with app:
        first, second, third = await bury(app, b"1", b"2", b"3")
        assert await app.dead.redrive("dead", ids=[second]) == 1
        assert (await bodies(app, "tasks"), await bodies(app, "dead")) == ([b"2"], [b"1", b"3"])
        assert await app.dead.redrive("dead", ids=[second]) == 0
        assert await app.dead.redrive("dead", ids=[third, first]) == 2
        assert sorted(await bodies(app, "tasks")) == [b"1", b"2", b"3"]


async def test_an_id_means_the_oldest(app: App) -> None:
    async with app:
        await bury(app, b"1", b"2")
        assert await app.dead.redrive("dead", ids=["a"]) == 1
        assert (await bodies(app, "tasks"), await bodies(app, "dead")) == ([b"1"], [b"2"])


async def test_all_of_them_go_back_and_are_counted(app: App) -> None:
    async with app:
        await bury(app, b"1", b"2", b"2")
        await bury(app, b"4", id="b")
        assert await app.dead.redrive("dead") == 4
        assert (await bodies(app, "tasks"), await bodies(app, "dead")) == ([b"1", b"2", b"2", b"4"], [])


async def test_of_equal_ones_one_goes(app: App) -> None:
    async with app:
        name, same = await bury(app, b"1", b"1")
        assert name == same
        assert await app.dead.redrive("dead", ids=[name]) == 1
        assert (await bodies(app, "tasks"), await bodies(app, "dead")) == ([b"1"], [b"1"])


async def test_the_edited_one_is_replaced_and_no_other(app: App) -> None:
    async with app:
        _, second = await bury(app, b"1", b"2")
        done = await app.dead.edit("dead", second, text="7")
        assert done.edited_from == "a"
        assert (await bodies(app, "tasks"), await bodies(app, "dead")) == ([b"7"], [b"1"])
        await app.dead.edit("dead", "a", headers={"new": 1})
        assert (await bodies(app, "tasks"), await bodies(app, "dead")) == ([b"7", b"1"], [])


async def test_both_are_listed(app: App) -> None:
    async with app:
        names = await bury(app, b"1", b"2")
        found = await app.dead.letters("dead")
        assert sorted(name_of(letter.message) for letter in found.letters) == sorted(names)
        assert found.count == 2


@pytest.mark.parametrize("act", ["retry", "move", "delete"])
async def test_a_batch_of_one_leaves_the_other(app: App, act: Any) -> None:
    app.queue("aside")
    async with app:
        first, second = await bury(app, b"1", b"2")
        to = "aside" if act == "move" else None
        batch = await app.dead.batches.begin(act, "dead", ids=[second], to=to, canary=None)
        ended = await app.dead.batches.wait(batch.id)
        assert (ended.state, ended.moved, ended.stayed, ended.gone) == ("done", 1, 0, 0)
        assert await bodies(app, "dead") == [b"1"]
        there = {"retry": ["tasks"], "move": ["aside"], "delete": []}[act]
        assert [await bodies(app, queue) for queue in there] == [[b"2"]] * len(there)
        batch = await app.dead.batches.begin(act, "dead", ids=[first], to=to, canary=None)
        assert (await app.dead.batches.wait(batch.id)).moved == 1


@pytest.mark.parametrize("app", ["transfer"], indirect=True)
@pytest.mark.parametrize("act", ["retry", "delete"])
async def test_a_batch_of_all_comes_back_as_it_was(app: App, act: Any) -> None:
    async with app:
        await bury(app, b"1", x_cause="0" * 12)
        await bury(app, b"2", x_cause="1" * 12)
        before = {each.body: each.headers for each in await app._runtime.queue("dead").peek()}
        batch = await app.dead.batches.begin(act, "dead", canary=None)
        ended = await app.dead.batches.wait(batch.id)
        assert (ended.moved, await bodies(app, "dead")) == (2, [])
        await app.dead.batches.undo(batch.id)
        ended = await app.dead.batches.wait(batch.id)
        assert (ended.state, ended.undone) == ("undone", 2)
        assert {each.body: each.headers for each in await app._runtime.queue("dead").peek()} == before


@pytest.mark.parametrize("app", ["transfer"], indirect=True)
async def test_a_walk_passes_none_of_them_when_one_before_is_taken(app: App) -> None:
    async with app:
        await bury(app, *(b"%d" % number for number in range(40)))
        live = app._runtime.queue("dead")
        walk, seen = Walk(live.driver, live.spec.name), set[bytes]()
        while page := await walk.page():
            if not seen:
                [oldest] = await live.driver.receive(live.spec.name, 1, 0)
                await live.driver.settle(live.spec.name, [Ack(oldest.receipt)])
                await bury(app, b"newer")
            seen |= {each.body for each in page}
            for each in page:
                walk.stays(each)
        assert (len(seen), walk.restarts) == (41, 1)


@pytest.mark.parametrize("app", ["transfer"], indirect=True)
async def test_letters_of_two_queues_keep_their_queues_when_a_retry_is_undone(app: App) -> None:
    app.queue("other", dead_letter="dead")
    async with app:
        await bury(app, b"1")
        await bury(app, b"2", x_original_queue="app:other")
        before = {each.body: each.headers for each in await app._runtime.queue("dead").peek()}
        batch = await app.dead.batches.begin("retry", "dead", canary=None)
        await app.dead.batches.wait(batch.id)
        assert (await bodies(app, "tasks"), await bodies(app, "other")) == ([b"1"], [b"2"])
        await app.dead.batches.undo(batch.id)
        ended = await app.dead.batches.wait(batch.id)
        assert (ended.state, ended.undone) == ("undone", 2)
        assert {each.body: each.headers for each in await app._runtime.queue("dead").peek()} == before


@pytest.mark.parametrize("app", ["transfer"], indirect=True)
async def test_one_of_them_is_removed_by_its_name(app: App) -> None:
    async with app:
        first, second, third, _ = await bury(app, b"1", b"2", b"3", b"3")
        await bury(app, b"4", id="b")
        queue = app._runtime.queue("dead")
        assert await queue.remove([second, "never", f"b{first[-9:]}"]) == 1
        assert await bodies(app, "dead") == [b"1", b"3", b"3", b"4"]
        assert await queue.remove([third]) == 1, "one of two that are equal"
        assert await queue.remove([first, "b"]) == 2
        assert await queue.remove([second]) == 0
        assert await bodies(app, "dead") == [b"3"]
        await bury(app, b"5")
        assert await queue.remove(["a"]) == 2, "an id means each message that has it"


@pytest.mark.parametrize("app", ["transfer"], indirect=True)
async def test_the_trash_keeps_the_one_that_was_deleted_later(app: App) -> None:
    async with app:
        first, second = await bury(app, b"1", b"2")
        driver = app._runtime.queue("dead").driver
        for name, pause in ((first, 600), (second, 400)):
            batch = await app.dead.batches.begin("delete", "dead", ids=[name])
            assert (await app.dead.batches.wait(batch.id)).moved == 1
            await asyncio.sleep(pause)
        assert [each.body for each in await driver.peek("dead.trash", 10)] == [b"2"]
        await asyncio.sleep(600)
        assert await driver.peek("dead.trash", 10) == []
