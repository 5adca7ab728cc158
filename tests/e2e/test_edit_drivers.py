"""Edit and retry where the broker shows no message: the letter is borrowed, and goes by a publish before its ack."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tasuki import App
from tasuki.contracts.driver import Outgoing
from tasuki.dead.editing.problems import EditError
from tasuki.queues.dead.letter import name_of
from tests.support.brokers.nats import NATSBroker
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import fresh

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[RabbitMQ, NATSBroker], ids=["amqp", "nats"])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[App]:
    app = App(request.param.shared().url, root=tmp_path)
    name = fresh("edit")
    app.queue("dead", queue_name=f"{name}_dead")
    app.queue("orders", queue_name=f"{name}_orders", dead_letter="dead")
    async with app:
        for number in range(3):
            letter = Outgoing(f"m-{number}", b'{"n":%d}' % number, {"x_original_queue": "app:orders", "tenant": "a"})
            assert not any(await app._runtime.queue("dead").forward([letter]))
        yield app


async def test_one_letter_is_changed_and_the_others_keep_their_places(app: App) -> None:
    with pytest.raises(EditError):
        await app.dead.edit("dead", "m-1", text="{")
    with pytest.raises(LookupError, match="no message 'm-9'"):
        await app.dead.edit("dead", "m-9", text="1")
    done = await app.dead.edit("dead", "m-1", text='{"n": 1.10}')
    assert not done.is_undoable
    orders, dead = app._runtime.queue("orders"), app._runtime.queue("dead")
    [sent] = await orders.driver.receive(orders.spec.name, 5, 5.0)
    assert (sent.id, sent.body, sent.headers["x_edited_from"]) == (done.id, b'{"n":1.10}', "m-1")
    left: list[str] = []
    while len(left) < 2:
        left += [letter.id for letter in await dead.driver.receive(dead.spec.name, 5, 5.0)]
    assert left == ["m-0", "m-2"]


async def test_of_two_letters_of_one_id_the_named_one_is_changed(app: App) -> None:
    """The broker takes out none by name: the content of what it hands out is compared."""
    orders, dead = app._runtime.queue("orders"), app._runtime.queue("dead")
    twin = Outgoing("m-1", b'{"n":7}', {"x_original_queue": "app:orders", "share": 1.5, "late": True})
    assert not any(await dead.forward([twin]))
    done = await app.dead.edit("dead", name_of(twin), headers={"tenant": "b"})
    [sent] = await orders.driver.receive(orders.spec.name, 5, 5.0)
    assert (sent.id, sent.body, sent.headers["tenant"], done.edited_from) == (done.id, b'{"n":7}', "b", "m-1")
    assert await app.dead.redrive("dead", ids=[name_of(twin)]) == 0
    assert await app.dead.redrive("dead", ids=["m-1"]) == 1
    [back] = await orders.driver.receive(orders.spec.name, 5, 5.0)
    assert (back.id, back.body, back.headers["tenant"]) == ("m-1", b'{"n":1}', "a")
