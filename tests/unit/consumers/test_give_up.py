"""``on_give_up``: a function that ends its worker does not keep its message, and each error has a text for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from tasuki.backoff import Backoff
from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.handling.suspects import SuspectGate
from tasuki.consumers.handling.tasks import ConsumerTask, TaskHandlers
from tasuki.consumers.settling.verdict import RetryPolicy
from tasuki.contracts.handler import Context, Handler, Reject
from tasuki.errors import StopTimeoutError
from tests.unit.consumers.model import ModelBroker, ModelDriver
from tests.unit.consumers.parts import Bench, ScriptedHandler, clock_of_loop, make_bench

pytestmark = pytest.mark.anyio

ATTEMPTS = 2


class Killer(Handler):
    """Ends its worker when it is called about a message."""

    def __init__(self) -> None:
        super().__init__("app:give_up")
        self.is_called = asyncio.Event()
        self.seconds = 3600.0

    async def start(self) -> None:
        return

    async def handle(self, body: Any, context: Context) -> Any:
        raise NotImplementedError

    async def give_up(self, arguments: Any, error: BaseException, context: Context) -> None:
        self.is_called.set()
        await asyncio.sleep(self.seconds)


async def fail(body: Any, context: Context) -> None:
    raise ValueError("no")


async def reject(body: Any, context: Context) -> None:
    raise Reject("no")


async def bench_of(broker: ModelBroker, handle: Any, killer: Killer, **options: Any) -> Bench:
    bench = await make_bench(driver=ModelDriver(broker), options=ConsumerOptions(1, 10), **options)
    bench.consumer.gate = SuspectGate()
    policy = RetryPolicy(Backoff(0, 0, 1, 0), ATTEMPTS, True, max_delay=3600)
    task = ConsumerTask(ScriptedHandler(handle, "app:send"), policy, on_give_up=killer)
    bench.consumer.handler = TaskHandlers(bench.consumer.id, {"send": task})
    return bench


async def has_died(bench: Bench, killer: Killer) -> bool:
    """Run a worker until its queue is empty, False, or until it is killed."""
    await bench.consumer.start()
    empty, called = asyncio.create_task(bench.empty()), asyncio.create_task(killer.is_called.wait())
    await asyncio.wait([empty, called], return_when=asyncio.FIRST_COMPLETED)
    empty.cancel()
    called.cancel()
    if killer.is_called.is_set():
        bench.queue.driver.dead = True  # type: ignore[attr-defined]
        bench.consumer.keeper.remove(bench.run.holding)
    with suppress(StopTimeoutError):
        await bench.consumer.stop(0)
    await asyncio.sleep(60)  # the lease ends
    return killer.is_called.is_set()


@pytest.mark.parametrize(
    ("handle", "ttl", "allowed"),
    [(fail, None, ATTEMPTS + 1), (reject, None, ATTEMPTS + 2), (fail, 1, ATTEMPTS + 2)],
    ids=["failed", "rejected", "expired"],
)
async def test_it_is_called_a_bounded_number_of_times(
    handle: Any, ttl: int | None, allowed: int, caplog: pytest.LogCaptureFixture
) -> None:
    broker = ModelBroker(clock_of_loop())
    bench = await bench_of(broker, handle, Killer())
    await bench.queue.publish(1, {"message_type": "send"}, ttl=ttl)
    await asyncio.sleep(2)
    deaths = 0
    while broker.ids("tasks"):
        killer = Killer()
        deaths += await has_died(await bench_of(broker, handle, killer), killer)
        assert deaths <= allowed, "it kills its workers forever"
    assert deaths == allowed
    assert [letter.headers["x_dead_letter_reason"] for letter in await bench.dead_letters()] == ["worker_died"]
    assert "on_give_up app:give_up is not called again: the worker died in it" in caplog.text


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


async def test_a_function_that_gets_the_text_of_the_error_is_called_where_it_has_none() -> None:
    given: list[Any] = []

    class InLua(ScriptedHandler):
        async def call(self, args: Any, context: Context) -> None:
            given.append(args)

    async def raise_mute(body: Any, context: Context) -> None:
        raise Mute

    bench = await make_bench()
    policy = RetryPolicy(Backoff(0, 0, 1, 0), 1, True, max_delay=3600)
    task = ConsumerTask(ScriptedHandler(raise_mute, "app:send"), policy, on_give_up=InLua(id="app:give_up"))
    bench.consumer.handler = TaskHandlers(bench.consumer.id, {"send": task})
    await bench.handle(1, headers={"message_type": "send"})
    assert given == [[1, "(its text cannot be shown)"]]


async def test_a_message_whose_lease_is_lost_meanwhile_is_no_dead_letter() -> None:
    """Its dead letters are at another broker, which takes what it gets; and another worker has the message."""
    broker, killer = ModelBroker(clock_of_loop()), Killer()
    bench = await bench_of(broker, reject, killer, dead_driver=ModelDriver(ModelBroker(clock_of_loop())))
    killer.seconds = 20.0
    await bench.queue.publish(1, {"message_type": "send"})
    await bench.consumer.start()
    await killer.is_called.wait()
    (stored,) = broker.queues["tasks"].stored
    stored.lease_until = 0.0
    assert len(await ModelDriver(broker).receive("tasks", 1, 0)) == 1
    await asyncio.sleep(25)
    assert await bench.dead_letters() == []
    assert broker.ids("tasks") == [stored.id]
    await bench.consumer.stop(1)
