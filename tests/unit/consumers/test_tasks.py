"""Several functions for one consumer: each message is handled by the one that it names, under its own rules."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.backoff import Backoff
from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.handling.tasks import ConsumerTask, TaskHandlers
from tasuki.consumers.settling.verdict import RetryPolicy
from tasuki.contracts.driver import Outgoing
from tasuki.contracts.handler import Context, Handler, Reject
from tasuki.errors import HandlerError, HandlerTimeoutError
from tasuki.message import HeaderValue
from tasuki.queues.messages.rules import RetryRules
from tasuki.queues.messages.signature import Signing
from tests.unit.consumers.parts import STEADY, Bench, Gate, ScriptedHandler, leased, make_bench

pytestmark = pytest.mark.anyio

SEND, PACK = {"message_type": "send"}, {"message_type": "pack"}


class GiveUp(Handler):
    """Keeps what it is called with, and does what ``error`` says."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__("app:give_up")
        self.error = error
        self.seen: list[tuple[Any, BaseException]] = []
        self.dead: list[int] = []
        self.bench: Bench | None = None
        self.gate: Gate | None = None

    async def start(self) -> None:
        return

    async def handle(self, body: Any, context: Context) -> Any:
        raise NotImplementedError

    async def give_up(self, arguments: Any, error: BaseException, context: Context) -> None:
        self.seen.append((arguments, error))
        if self.bench is not None:
            self.dead.append(len(await self.bench.dead_letters()))
        if self.gate is not None:
            await self.gate.open.wait()
        if self.error is not None:
            raise self.error


def rules(attempts: int = 2, **more: Any) -> RetryPolicy:
    return RetryPolicy(Backoff(0, 0, 1, 0), attempts, True, max_delay=3600, **more)


async def make(send: Any = None, pack: Any = None, *, default: Any = None, **options: Any) -> Bench:
    """A consumer with the tasks send (two attempts) and pack; either may be a Task."""
    bench = await make_bench(**options)
    tasks = {
        name: given if isinstance(given, ConsumerTask) else ConsumerTask(ScriptedHandler(given, f"app:{name}"), policy)
        for name, given, policy in (("send", send, rules()), ("pack", pack, rules(4)))
    }
    bench.consumer.handler = TaskHandlers(bench.consumer.id, tasks, default)
    return bench


def handler_of(bench: Bench, name: str) -> Any:
    tasks = bench.consumer.handler
    assert isinstance(tasks, TaskHandlers)
    return tasks.tasks[name].handler


async def reasons(bench: Bench) -> list[tuple[Any, Any]]:
    return [(each.headers["x_dead_letter_reason"], each.headers["attempts"]) for each in await bench.dead_letters()]


async def fail(body: Any, context: Context) -> None:
    raise ValueError("no")


async def test_each_message_is_handled_by_the_function_that_it_names() -> None:
    bench = await make()
    for body, headers in ((1, SEND), (2, PACK), (3, SEND)):
        await bench.queue.publish(body, headers)
    async with bench:
        await bench.empty()
    assert [body for body, _ in handler_of(bench, "send").seen] == [1, 3]
    assert [body for body, _ in handler_of(bench, "pack").seen] == [2]
    (context,) = handler_of(bench, "pack").contexts
    assert (context.delivery.function, context.queue, context.delivery.consumer) == (
        "app:pack",
        "app:tasks",
        "app:consumer",
    )
    assert context.logger.logger.name == "tasuki.function.app:pack"


async def test_a_bare_name_is_of_the_namespace_of_the_task_s_own_function() -> None:
    async def ask(body: Any, context: Context) -> None:
        await context.call("helper")

    bench = await make(ConsumerTask(ScriptedHandler(ask, "mail:send"), rules()))
    await bench.handle(1, headers=SEND)
    ((_, _, function, _),) = [call for call in bench.host.calls if call[0] == "call"]
    assert function == "mail:helper"


async def test_each_task_has_its_own_retry_rules() -> None:
    careful = ConsumerTask(
        ScriptedHandler(fail, "app:pack"), rules(4, rules=RetryRules(never=frozenset({"ValueError"})))
    )
    bench = await make(fail, careful, max_attempts=9)
    await bench.queue.publish(1, SEND)
    await bench.handle(2, headers=PACK)
    assert sorted(await reasons(bench)) == [("max_attempts", 2), ("not_retryable", 1)]


async def test_settling_in_the_handler_follows_the_rules_of_the_task() -> None:
    async def nack(body: Any, context: Context) -> None:
        context.nack()

    bench = await make(nack, max_attempts=9)
    await bench.handle(1, headers=SEND)
    assert await reasons(bench) == [("max_attempts", 2)]


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({"message_type": "sent"}, "this consumer has no task 'sent'; did you mean 'send'?"),
        ({"message_type": "other"}, "this consumer has no task 'other'; it has send, pack"),
        ({"message_type": 7}, "this consumer has no task '7'; it has send, pack"),
        ({}, "the message names no task: its header 'message_type' must be one of send, pack"),
    ],
)
async def test_an_unknown_task_is_retried_by_the_policy_and_then_given_up(headers: dict[str, Any], text: str) -> None:
    bench = await make(max_attempts=3, retry_rules=RetryRules(on=frozenset({"OSError"})))
    bench.consumer.policy = RetryPolicy(STEADY, 3, True, rules=RetryRules(on=frozenset({"OSError"})), max_delay=9)
    await bench.handle(1, headers=headers)
    assert await reasons(bench) == [("unknown_task", 3)]
    assert (await bench.dead_letters())[0].headers["x_last_error"] == text
    assert bench.consumer.metrics.failed == 3


async def test_an_unknown_task_is_not_lost_where_messages_are_acked_first() -> None:
    bench = await make(options=ConsumerOptions(auto_ack=True))
    await bench.handle(1, headers={"message_type": "sent"})
    assert await reasons(bench) == [("unknown_task", 3)]


async def test_a_consumer_of_the_next_version_handles_it() -> None:
    bench = await make()
    await bench.queue.publish(1, {"message_type": "new"})
    async with bench:
        while not bench.consumer.metrics.failed:
            await asyncio.sleep(0.01)
        new = ScriptedHandler(None, "app:new")
        bench.consumer.replace_handler(TaskHandlers("app:consumer", {"new": ConsumerTask(new, rules())}))
        await bench.empty()
    assert new.seen == [(1, 2)]
    assert await bench.dead_letters() == []


async def test_messages_without_a_name_are_for_the_default() -> None:
    default = ScriptedHandler(None, "app:default")
    bench = await make(default=default)
    await bench.queue.publish(1)
    await bench.handle(2, headers={"message_type": "sent"})
    assert default.seen == [(1, 1)]
    assert bench.consumer.handler.id == "app:default"
    assert await reasons(bench) == [("unknown_task", 3)]


async def test_each_task_has_its_own_timeout(caplog: pytest.LogCaptureFixture) -> None:
    slow = ConsumerTask(ScriptedHandler(Gate(), "app:send"), rules(1), handler_timeout=2.0)
    gate = Gate()
    bench = await make(slow, gate, options=ConsumerOptions(concurrency=2))
    await bench.queue.publish(1, SEND)
    await bench.queue.publish(2, PACK)
    async with bench:
        await bench.settled(1)
        assert await reasons(bench) == [("max_attempts", 1)]
        gate.open.set()
        await bench.empty()
    assert bench.consumer.metrics.timed_out == 1
    assert "handler app:send has run for handler_timeout (2s)" in caplog.text
    assert "longer than handler_timeout (2s)" in str((await bench.dead_letters())[0].headers["x_last_error"])


async def test_a_task_without_a_timeout_is_not_cut_short_by_that_of_the_one_before() -> None:
    async def rest(body: Any, context: Context) -> None:
        await asyncio.sleep(10)

    bench = await make(ConsumerTask(ScriptedHandler(None, "app:send"), rules(1), handler_timeout=2.0), rest)
    await bench.queue.publish(1, SEND)
    await bench.handle(2, headers=PACK)
    assert (bench.consumer.metrics.acked, bench.consumer.metrics.timed_out) == (2, 0)


async def test_giving_up_is_reported_before_the_message_is_dead_lettered() -> None:
    give_up = GiveUp()
    bench = await make(ConsumerTask(ScriptedHandler(fail, "app:send"), rules(2), on_give_up=give_up))
    give_up.bench = bench
    await bench.handle({"a": 1}, headers=SEND)
    ((arguments, error),) = give_up.seen
    assert (arguments, repr(error), give_up.dead) == ({"a": 1}, "ValueError('no')", [0])
    assert await reasons(bench) == [("max_attempts", 2)]


@pytest.mark.parametrize("error", [ValueError("broken"), HandlerError("broken")])
async def test_giving_up_cannot_lose_the_message(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    give_up = GiveUp(error)
    bench = await make(ConsumerTask(ScriptedHandler(fail, "app:send"), rules(1), on_give_up=give_up))
    await bench.handle(1, headers=SEND)
    assert await reasons(bench) == [("max_attempts", 1)]
    assert "on_give_up app:give_up failed; the message is dead-lettered all the same" in caplog.text
    assert "broken" in caplog.text


async def test_giving_up_has_the_time_of_the_task_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    give_up = GiveUp()
    give_up.gate = Gate()
    task = ConsumerTask(ScriptedHandler(fail, "app:send"), rules(1), handler_timeout=3.0, on_give_up=give_up)
    bench = await make(task)
    await bench.handle(1, headers=SEND)
    assert await reasons(bench) == [("max_attempts", 1)]
    assert "TimeoutError" in caplog.text


async def test_a_stop_while_giving_up_keeps_the_message_for_another_time(caplog: pytest.LogCaptureFixture) -> None:
    give_up = GiveUp()
    give_up.gate = Gate()
    bench = await make(ConsumerTask(ScriptedHandler(fail, "app:send"), rules(1), on_give_up=give_up))
    await bench.queue.publish(1, SEND)
    async with bench:
        while not give_up.seen:
            await asyncio.sleep(0.01)
        assert (bench.consumer.now.held, bench.consumer.now.unsettled) == (1, 0)  # it does not look stuck meanwhile
    assert await bench.dead_letters() == []
    give_up.gate = None
    async with bench:
        await bench.empty()
    assert len(give_up.seen) == 2
    assert await reasons(bench) == [("max_attempts", 1)]


async def test_a_message_that_is_another_s_by_then_is_left_to_it() -> None:
    give_up = GiveUp()
    give_up.gate = Gate()
    bench = await make(ConsumerTask(ScriptedHandler(fail, "app:send"), rules(1), on_give_up=give_up))
    await bench.queue.publish(1, SEND)
    async with bench:
        while not give_up.seen:
            await asyncio.sleep(0.01)
        delivery = handler_of(bench, "send").contexts[0].delivery
        delivery.lost = True
        give_up.gate.open.set()
        await bench.settled()
    assert await bench.dead_letters() == []
    assert bench.consumer.metrics.dead_lettered == 0


async def reject(body: Any, context: Context) -> None:
    try:
        raise OSError("550")
    except OSError as error:
        raise Reject("no such address") from error


async def reject_by_method(body: Any, context: Context) -> None:
    context.reject("not for us")


@pytest.mark.parametrize(
    ("handle", "shown"),
    [(reject, "Reject('no such address')"), (reject_by_method, "HandlerError('not for us')")],
)
async def test_a_rejected_message_is_given_up_too(handle: Any, shown: str) -> None:
    give_up = GiveUp()
    bench = await make(ConsumerTask(ScriptedHandler(handle, "app:send"), rules(), on_give_up=give_up))
    await bench.handle(1, headers=SEND)
    ((_, error),) = give_up.seen
    assert repr(error) == shown
    assert await reasons(bench) == [("rejected", 1)]


async def test_so_are_an_expired_one_and_one_that_ran_too_long() -> None:
    give_up = GiveUp()
    task = ConsumerTask(ScriptedHandler(Gate(), "app:send"), rules(1), handler_timeout=1.0, on_give_up=give_up)
    bench = await make(task)
    await bench.queue.publish("late", SEND, ttl=5)
    await asyncio.sleep(6)
    await bench.handle("slow", headers=SEND)
    assert {arguments: type(error) for arguments, error in give_up.seen} == {
        "late": HandlerError,
        "slow": HandlerTimeoutError,
    }


async def test_a_body_that_cannot_be_read_is_given_up_without_a_call() -> None:
    give_up = GiveUp()
    bench = await make(ConsumerTask(ScriptedHandler(None, "app:send"), rules(), on_give_up=give_up))
    await bench.handle(b"\xff", headers={**SEND, "content_type": "json/plain"})
    assert give_up.seen == []
    assert await reasons(bench) == [("undecodable", 1)]


async def test_nothing_is_called_about_a_forged_message() -> None:
    give_up = GiveUp()
    task = ConsumerTask(ScriptedHandler(fail, "app:send"), rules(1), on_give_up=give_up)
    bench = await make(task, signing=Signing({"k": b"s" * 16}))
    past: dict[str, HeaderValue] = {**SEND, "x_expires_at": 1.0}
    await bench.queue.forward([Outgoing("1", b'{"a": 1}', dict(SEND)), Outgoing("2", b'{"a": 1}', past)])
    await bench.handle({"a": 2}, headers=SEND)
    assert sorted(await reasons(bench)) == [("expired", 1), ("max_attempts", 1), ("unsigned", 1)]
    assert [arguments for arguments, _ in give_up.seen] == [{"a": 2}]


async def test_a_reason_keeps_its_causes() -> None:
    bench = await make(reject)
    await bench.handle(1, headers=SEND)
    assert (await bench.dead_letters())[0].headers["x_last_error"] == "no such address: OSError: 550"


async def test_a_handler_that_outlasts_its_consumer_keeps_the_rules_of_its_task() -> None:
    class Stubborn(Gate):
        async def __call__(self, body: Any, context: Context) -> None:
            while not self.open.is_set():
                try:
                    await self.open.wait()
                except asyncio.CancelledError:
                    continue
            context.nack()

    gate = Stubborn()
    bench, _ = await leased()
    bench.consumer.handler = TaskHandlers(
        "app:consumer", {"send": ConsumerTask(ScriptedHandler(gate, "app:send"), rules(9))}
    )
    await bench.queue.publish(1, SEND)
    await bench.consumer.start()
    await bench.settled(1)
    (delivery,) = bench.consumer.now.deliveries
    with pytest.raises(Exception, match="still ran after stop_timeout"):
        await bench.consumer.stop(1.0)
    assert delivery.stopping
    assert delivery.function == "app:send"
    assert delivery.holder.policy.max_attempts == 9
    gate.open.set()
    while not delivery.ended:
        await asyncio.sleep(0.01)


async def test_all_functions_start_with_the_consumer() -> None:
    bad = ScriptedHandler(None, "app:pack")
    bad.start_error = HandlerError("no such function")
    bench = await make(None, ConsumerTask(bad, rules()))
    with pytest.raises(HandlerError, match="no such function"):
        await bench.consumer.start()
    assert handler_of(bench, "send").starts == 1
