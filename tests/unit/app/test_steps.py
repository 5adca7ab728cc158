"""Steps: a recorded step is not done again, and a result that cannot be recorded is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tasuki import App, Context, Retry, Snooze
from tasuki.contracts.driver import Receipt, Release, Settlement
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerUnavailableError, HandlerError, UnsupportedError
from tasuki.flow.records import RunRecord, decode, encode, run_key
from tests.support.narrow import present
from tests.unit.app.stores import store_of

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


class Effects:
    """What the steps have done, in order."""

    def __init__(self) -> None:
        self.done: list[Any] = []

    def plain(self, what: Any) -> Any:
        self.done.append(what)
        return what

    async def slow(self, what: Any) -> Any:
        await asyncio.sleep(1)
        return self.plain(what)


async def record_of(app: App, id: str) -> Any:
    return await (await store_of(app)).get(run_key("jobs", id))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def test_a_retry_goes_on_after_the_last_step(make_app: Callable[..., App]) -> None:
    app, effects, results = make_app(), Effects(), []
    jobs = app.queue("jobs")

    @jobs.consumer(retry={"initial_delay": "1s"})
    async def work(body: int, context: Context) -> None:
        first = await context.step("first", effects.plain, {"a": [1, None, b"x"]})
        second = await context.step("second", effects.slow, what=None)
        results.append((context.attempt, first, second))
        if context.attempt < 3:
            raise ValueError("boom")
        results.append(await context.step("third", effects.slow, 3))

    async with app.worker():
        job = await jobs.publish(1)
        await until(lambda: len(results) == 2)
        assert await record_of(app, job.id)
        await until(lambda: len(results) == 4)
        await asyncio.sleep(1)
        assert await record_of(app, job.id) is None
    assert effects.done == [{"a": [1, None, b"x"]}, None, 3]
    assert results == [(attempt, {"a": [1, None, b"x"]}, None) for attempt in (1, 2, 3)] + [3]


@pytest.mark.parametrize("signal", [Retry(after="1s"), Snooze("1s")])
async def test_a_signal_keeps_the_steps(make_app: Callable[..., App], signal: Exception) -> None:
    app, effects, ends = make_app(), Effects(), []
    jobs = app.queue("jobs")

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        await context.step("one", effects.plain, 1)
        ends.append(1)
        if len(ends) == 1:
            raise signal

    async with app.worker():
        await jobs.publish(1)
        await until(lambda: len(ends) == 2)
    assert effects.done == [1]


async def test_a_stopped_worker_is_followed_by_another_one(make_app: Callable[..., App]) -> None:
    app, effects, is_first = make_app(), Effects(), True
    jobs = app.queue("jobs")

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        await context.step("one", effects.slow, 1)
        if is_first:
            await asyncio.sleep(3600)
        await context.step("two", effects.slow, 2)

    async with app:
        await jobs.publish(1)
        consumer = next(iter(app._runtime.live().consumers.values()))
        await consumer.start()
        await until(lambda: effects.done == [1])
        await asyncio.sleep(1)
        with pytest.raises(Exception, match="still ran"):
            await consumer.stop(0)
        is_first = False
        await consumer.start()
        await until(lambda: effects.done == [1, 2])
        await consumer.stop(10)


async def test_a_redriven_message_goes_on(make_app: Callable[..., App]) -> None:
    app, effects = make_app(), Effects()
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1})
    dead, is_broken = app.queue("dead"), True

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        await context.step("one", effects.plain, 1)
        if is_broken:
            raise ValueError("boom")
        await context.step("two", effects.plain, 2)

    async with app.worker():
        await jobs.publish(1)
        while not (await dead.depth()).ready:
            await asyncio.sleep(0.01)
        is_broken = False
        await app.dead.redrive(dead)
        await until(lambda: effects.done == [1, 2])


Body = Callable[[Context], Any]


async def error_of(app: App, run: Body, **options: Any) -> BaseException:
    """What the handler's first run raises."""
    jobs, errors = app.queue("jobs"), []

    @jobs.consumer(**options)
    async def work(body: int, context: Context) -> None:
        try:
            await run(context)
        except Exception as error:
            errors.append(error)

    async with app.worker():
        await jobs.publish(1)
        async with asyncio.timeout(600):
            await until(lambda: bool(errors))
    return errors[0]


async def _twice(context: Context) -> None:
    await context.step("one", int)
    await context.step("one", int)


async def _too_many(context: Context) -> None:
    for number in range(1001):
        await context.step(f"{number}", int)


async def _after_the_ack(context: Context) -> None:
    context.ack()
    await context.step("one", int)


async def _sync(context: Context) -> None:
    context.sync.step("one", int)


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        (_twice, "step 'one' is used twice in one run"),
        (_too_many, "step '1000': a message has 1000 steps at most"),
        (_after_the_ack, "settled already: call its steps before"),
        (_sync, "write 'await context.step"),
        (lambda context: context.step("one", lambda: b"x" * 262_144), "step 'one': the results of the message's steps"),
        (lambda context: context.step("one", lambda: (1, 2)), "step 'one': its result cannot be recorded: a value of"),
        (lambda context: context.step("one", lambda: 2**64), "an int beyond 64 bits cannot be stored; return plain"),
        (lambda context: context.step("", int), "a step's name is text of 1 to 200 characters"),
    ],
)
async def test_refusals(make_app: Callable[..., App], run: Body, problem: str) -> None:
    error = await error_of(make_app(), run)
    assert isinstance(error, HandlerError)
    assert problem in error.message
    assert (error.kind, error.retryable) == ("Invalid", False)


async def test_a_consumer_that_acks_first_has_none(make_app: Callable[..., App]) -> None:
    error = await error_of(make_app(), lambda context: context.step("one", int), auto_ack=True)
    assert "has auto_ack, so its messages are not redelivered" in str(error)


async def test_a_queue_without_state_has_none(make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasuki.app.host.ProjectHost.state_of", lambda *_: None)
    monkeypatch.setattr("tasuki.app.assembly.Assembly.state_of", lambda *_: None)
    error = await error_of(make_app(), lambda context: context.step("one", int))
    assert isinstance(error, UnsupportedError)
    assert "which context.step needs" in str(error)
    assert "write 'state: <id of a store>'" in str(error)


async def test_a_called_function_has_its_callers_steps(make_app: Callable[..., App]) -> None:
    app, effects = make_app(), Effects()
    jobs = app.queue("jobs")

    @app.function
    async def inner(body: int, context: Context) -> Any:
        return await context.step("inner", effects.plain, body)

    @jobs.consumer(retry={"initial_delay": "1s"})
    async def work(body: int, context: Context) -> None:
        await context.call("inner", body)
        if context.attempt == 1:
            raise ValueError("boom")
        effects.plain("end")

    async with app.worker():
        with pytest.raises(HandlerError, match="called, not delivered to"):
            await app.call("inner", 1)
        await jobs.publish(7)
        await until(lambda: "end" in effects.done)
    assert effects.done == [7, "end"]


async def test_each_message_of_a_batch_has_its_own(make_app: Callable[..., App]) -> None:
    app, effects, errors = make_app(), Effects(), []
    jobs = app.queue("jobs")

    @jobs.consumer(batch={"size": 2, "wait": "1s"}, retry={"initial_delay": "1s"})
    async def work(bodies: list[int], context: Context) -> None:
        for body, one in zip(bodies, context.batch, strict=True):
            await one.step("one", effects.plain, body)
        try:
            await context.step("all", int)
        except HandlerError as error:
            errors.append(error.message)
        if context.attempt == 1:
            raise ValueError("boom")

    async with app.worker():
        ids = [(await jobs.publish(body)).id for body in (1, 2)]
        await until(lambda: len(errors) == 2)
        await asyncio.sleep(1)
        assert [await record_of(app, id) for id in ids] == [None, None]
    assert effects.done == [1, 2]
    assert errors[0] == "a batch has no steps; each of its messages has: context.batch[0].step(…)"


async def test_another_order_is_logged_once(make_app: Callable[..., App], caplog: pytest.LogCaptureFixture) -> None:
    app, ends = make_app(), []
    jobs = app.queue("jobs")

    @jobs.consumer(retry={"initial_delay": "1s"})
    async def work(body: int, context: Context) -> None:
        for name in ("a", "b", "c") if context.attempt == 1 else ("c", "b", "a"):
            await context.step(name, int)
        ends.append(1)
        if context.attempt == 1:
            raise ValueError("boom")

    async with app.worker():
        await jobs.publish(1)
        await until(lambda: len(ends) == 2)
    told = [each for each in caplog.messages if "step 'c' was number 3 when it was recorded, and is number 1" in each]
    assert len(told) == len([each for each in caplog.messages if "when it was recorded" in each]) == 1


async def test_steps_at_the_same_time(make_app: Callable[..., App]) -> None:
    app, effects = make_app(), Effects()
    ends: list[Any] = []
    jobs = app.queue("jobs")

    @jobs.consumer(retry={"initial_delay": "1s"})
    async def work(body: int, context: Context) -> None:
        ends.append(await asyncio.gather(*(context.step(f"{n}", effects.slow, n) for n in range(5))))
        if context.attempt == 1:
            raise ValueError("boom")

    async with app.worker():
        await jobs.publish(1)
        await until(lambda: len(ends) == 2)
    assert sorted(effects.done) == [0, 1, 2, 3, 4]
    assert ends == [[0, 1, 2, 3, 4]] * 2


async def test_a_step_waits_for_a_store_that_is_away(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, effects = make_app(), Effects()
    ends: list[Any] = []
    jobs = app.queue("jobs")

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        await context.step("one", effects.plain, 1)
        store = await store_of(app)
        put = store.put

        async def fail(*args: Any, **named: Any) -> int:
            if len(ends) < 5:
                ends.append("away")
                if len(ends) == 3:
                    await put(*args, **named)  # it has happened, and the answer is lost
                raise BrokerUnavailableError("away", outcome="unknown")
            return await put(*args, **named)

        monkeypatch.setattr(store, "put", fail)
        await context.step("two", effects.plain, 2)
        ends.append(context.attempt)

    async with app.worker():
        await jobs.publish(1)
        await until(lambda: 1 in ends)
    assert (ends, effects.done) == (["away"] * 5 + [1], [1, 2])


async def test_a_delivery_that_has_lost_its_lease_begins_no_step(make_app: Callable[..., App]) -> None:
    """Another worker may have begun it by now: the refusal must come before the work, not after it."""
    effects = Effects()

    async def run(context: Context) -> None:
        await context.step("one", effects.plain, 1)
        lose(context)
        await context.step("two", effects.plain, 2)

    error = await error_of(make_app(), run)
    assert isinstance(error, HandlerError)
    assert error.kind == "Conflict"
    assert "has lost its lease" in error.message
    assert effects.done == [1]


async def test_a_delivery_that_has_lost_its_lease_does_not_wait_for_its_store(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, took = make_app(), list[float]()

    async def run(context: Context) -> None:
        async def away(*args: Any, **named: Any) -> int:
            lose(context)
            raise BrokerUnavailableError("away")

        await context.step("one", int)
        monkeypatch.setattr(await store_of(app), "put", away)
        begun = asyncio.get_running_loop().time()
        try:
            await context.step("two", int)
        finally:
            monkeypatch.undo()
            took.append(asyncio.get_running_loop().time() - begun)

    error = await error_of(app, run)
    assert isinstance(error, HandlerError)
    assert error.kind == "Conflict"
    assert took[0] < 1


async def test_after_an_interrupted_write_a_delivery_learns_that_another_one_has_its_steps(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, effects = make_app(), Effects()

    async def run(context: Context) -> None:
        store = await store_of(app)
        await context.step("one", effects.plain, 1)

        async def hang(*args: Any, **named: Any) -> None:
            await asyncio.get_running_loop().create_future()

        with monkeypatch.context() as patch:
            patch.setattr(store, "put", hang)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(context.step("two", effects.plain, 2), 1)
        await give_to_another(app, context)
        await context.step("three", effects.plain, 3)

    error = await error_of(app, run)
    assert isinstance(error, HandlerError)
    assert error.kind == "Conflict"
    assert effects.done == [1, 2]


async def test_the_end_of_a_message_leaves_the_steps_of_another_delivery(make_app: Callable[..., App]) -> None:
    app = make_app()
    jobs = app.queue("jobs")

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        await context.step("one", int)
        await give_to_another(app, context)

    async with app.worker():
        job = await jobs.publish(1)
        while (await jobs.info())["message_count"]:
            await asyncio.sleep(0.1)
        await asyncio.sleep(10)
        assert decode((await record_of(app, job.id)).value).owner == "another"


async def test_a_message_that_is_settled_too_late_keeps_its_steps_for_the_next_delivery(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, effects = make_app(), Effects()
    jobs = app.queue("jobs", lease="5s")
    settle, late = MemoryDriver.settle, [True]

    async def too_late(self: MemoryDriver, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        if not late:
            return await settle(self, queue, batch)
        late.clear()
        receipts = [each.receipt for each in batch]
        await settle(self, queue, [Release(receipt) for receipt in receipts])  # its lease is over, another one has it
        return receipts

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        await context.step("one", effects.plain, 1)

    monkeypatch.setattr(MemoryDriver, "settle", too_late)
    async with app.worker():
        await jobs.publish(1)
        while (await jobs.info())["message_count"]:
            await asyncio.sleep(0.1)
    assert not late
    assert effects.done == [1]


async def give_to_another(app: App, context: Context) -> None:
    """Let another delivery of its message take over its steps."""
    found = await record_of(app, present(context.message).id)
    record = RunRecord("another", decode(found.value).steps)
    await (await store_of(app)).put(found.key, encode(record), version=found.version)


def lose(context: Context) -> None:
    """Let its delivery know that its lease is lost, as the renewal of leases does."""
    facts: Any = context.delivery
    facts.lost = True
