"""Cancel through an app: from outside, from handlers, in whichever queue the message is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tasuki import App, Context
from tasuki.app.jobs import read
from tasuki.contracts.driver import Ack
from tasuki.contracts.observer import Moment
from tasuki.contracts.state.jobs import Cancellation
from tasuki.contracts.state.store import Entry
from tasuki.errors import (
    HandlerError,
    LifecycleError,
    PolicyDeniedError,
    ProjectError,
    QueueNotFoundError,
    UnsupportedError,
)
from tasuki.state.job_records import JobRecord, encode, result_key
from tests.unit.app.stores import store_of

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


async def test_it_is_found_in_whichever_queue_has_it(make_app: Callable[..., App]) -> None:
    app = make_app()
    for name in ("one", "two", "three"):
        app.queue(name)
    async with app:
        await app.publish("two", 1, id="a", delay="1h")
        assert await app.jobs.cancel("a") == "waiting"
        assert (await app.queue("two").info())["message_count"] == 0
        assert await app.jobs.cancel("b") == "not found"
        await app.publish("one", 1, id="b")  # it was nowhere, so it is not cancelled
        assert await app.jobs.cancel("b") == "waiting"


async def test_one_that_was_cancelled_before_stays_cancelled(make_app: Callable[..., App]) -> None:
    app = make_app()
    jobs = app.queue("jobs")
    async with app:
        job = await jobs.publish(1)
        assert await app.jobs.cancel(job.id) == "waiting"
        assert await app.jobs.cancel(job.id) == "not found"
        assert await job.status() == "cancelled"


async def test_one_that_a_worker_without_an_answer_may_have_stays_cancelled(make_app: Callable[..., App]) -> None:
    app = make_app()
    app.queue("other")
    jobs = app.queue("jobs")
    async with app:
        job = await jobs.publish(1)
        assert app._runtime.assembly is not None
        held = app._runtime.assembly.queue("app:jobs")
        [received] = await held.driver.receive(held.spec.name, 1, 0.0)  # its worker is suspended
        assert await app.jobs.cancel(job.id) == "not found"
        assert await job.status() == "cancelled"
        assert await app.jobs.get(job.id, queue="other").status() == "unknown"
        await held.driver.settle(held.spec.name, [Ack(received.receipt)])
        assert await app.jobs.cancel("b") == "not found"
        assert await app.jobs.get("b", queue=jobs).status() == "unknown"


async def test_a_queue_of_dead_letters_is_left_alone(make_app: Callable[..., App]) -> None:
    app = make_app()
    app.queue("dead")
    app.queue("jobs", dead_letter="dead")
    async with app:
        await app.publish("dead", 1, id="a")
        assert await app.jobs.cancel("a") == "not found"
        assert (await app.queue("dead").info())["message_count"] == 1


async def test_many_at_once(make_app: Callable[..., App]) -> None:
    app = make_app()
    jobs = app.queue("jobs")
    async with app:
        ids = [result.id for result in await jobs.publish_many(list(range(2_500)))]
        assert await app.jobs.cancel_many([*ids, *ids, "unknown"], queue=jobs) == Cancellation(2_500, not_found=1)
        assert {await app.jobs.get(id, queue=jobs).status() for id in (ids[0], ids[-1])} == {"cancelled"}
        assert await app.jobs.get("other", queue=jobs).status() == "unknown"


async def test_a_job_that_has_ended_stays_as_it_ended(make_app: Callable[..., App]) -> None:
    app = make_app()
    jobs = app.queue("jobs", result="1h")

    @jobs.consumer
    async def work(body: int) -> int:
        return body

    async with app.worker():
        done = await jobs.publish(7)
        assert await done.result() == 7
        await jobs.publish(8, id="late", delay="1h")
        assert await app.jobs.cancel_many([done.id, "late"], queue=jobs) == Cancellation(1, not_found=1)
        assert await done.result() == 7
        assert await app.jobs.get("late", queue=jobs).status() == "cancelled"


async def test_a_job_that_starts_at_the_same_moment_is_not_noted_as_cancelled(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    jobs = app.queue("jobs", result="1h")
    async with app:
        for id in ("a", "b"):
            await jobs.publish(1, id=id, delay="1h")
        store = await store_of(app)
        get, key = store.get, result_key("jobs", "a")

        async def starting(wanted: str) -> Entry | None:
            found = await get(wanted)
            if wanted == key and found is None:  # its worker writes first
                await store.put(key, encode(JobRecord("running", 0.0)))
            return found

        monkeypatch.setattr(store, "get", starting)
        await app.jobs.cancel_many(["a", "b"], queue=jobs)
        record = await read(app._runtime.live(), "app:jobs", "a")
        assert record is not None
        assert record.status == "running"
        assert await app.jobs.get("b", queue=jobs).status() == "cancelled"


@pytest.mark.parametrize("id", ["字" * 255, "\0", "\ud800", ""])
async def test_any_id_can_be_cancelled(make_app: Callable[..., App], id: str) -> None:
    app = make_app()
    jobs = app.queue("jobs")
    async with app:
        is_id = len(id) > 1
        if is_id:
            await jobs.publish(1, id=id, delay="1h")
        assert await app.jobs.cancel(id, queue=jobs) == ("waiting" if is_id else "not found")
        assert await app.jobs.get(id, queue=jobs).status() == "cancelled"


async def test_a_handler_cancels(make_app: Callable[..., App]) -> None:
    app, outcomes = make_app(), []
    app.queue("later")

    @app.queue("jobs").consumer
    async def work(body: str, context: Context) -> None:
        outcomes.append(await context.queues.cancel(body, queue="later"))

    async with app.worker():
        await app.publish("later", 1, id="a", delay="1h")
        await app.publish("jobs", "a")
        await empty(app, "jobs")
    assert outcomes == ["waiting"]


async def test_a_request_that_is_cancelled_gets_an_error(make_app: Callable[..., App]) -> None:
    app = make_app()

    @app.queue("jobs").consumer
    async def work(body: str) -> None:
        await asyncio.sleep(3600)

    async with app.worker():
        asking = asyncio.ensure_future(app.request("jobs", "x", id="a", reply_timeout="1h"))
        while (await app.queue("jobs").info())["in_flight"] != 1:
            await asyncio.sleep(0.01)
        assert await app.jobs.cancel("a", queue="jobs") == "running"
        with pytest.raises(HandlerError, match="the message was cancelled") as caught:
            await asking
    assert caught.value.kind == "Canceled"


async def test_hooks_hear_that_it_was_discarded(make_app: Callable[..., App]) -> None:
    app, moments = make_app(), []

    @app.queue("jobs").consumer
    async def work(body: int) -> None:
        await asyncio.sleep(3600)

    @app.on.discard
    async def discarded(moment: Moment) -> None:
        moments.append((moment.id, moment.reason, moment.seconds is not None))

    async with app.worker():
        await app.publish("jobs", 1, id="a")
        while (await app.queue("jobs").info())["in_flight"] != 1:
            await asyncio.sleep(0.01)
        await app.jobs.cancel("a", queue="jobs")
        await app.jobs.cancel("b", queue="jobs")
        await app.publish("jobs", 2, id="b")
        await empty(app, "jobs")
    assert moments == [("a", "cancelled", True), ("b", "cancelled", False)]


async def test_a_redriven_message_stays_cancelled(make_app: Callable[..., App]) -> None:
    app, seen = make_app(), []
    app.queue("dead")
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1})

    @jobs.consumer
    async def work(body: int) -> None:
        seen.append(body)
        raise ValueError("boom")

    async with app.worker():
        await jobs.publish(1, id="a")
        while not (await app.queue("dead").info())["ready"]:
            await asyncio.sleep(0.01)
        assert await app.jobs.cancel("a", queue="jobs") == "not found"
        await app.dead.redrive("dead")
        await empty(app, "jobs")
    assert seen == [1]


async def test_a_queue_without_a_state_says_what_to_write(make_app: Callable[..., App]) -> None:
    pytest.importorskip("pamqp")
    app = make_app("amqp://127.0.0.1:1")
    app.queue("jobs")
    await app.open()
    with pytest.raises(UnsupportedError, match=r"queue 'app:jobs' has no state, which cancelling needs: .*'state: <id"):
        await app.jobs.cancel("a", queue="jobs")
    with pytest.raises(UnsupportedError, match="queue 'app:jobs' has no state"):
        await app.jobs.cancel("a")


async def test_a_strict_queue_needs_a_state(make_app: Callable[..., App]) -> None:
    app = make_app("amqp://127.0.0.1:1")
    app.queue("jobs", cancel="strict")
    with pytest.raises(
        ProjectError, match=r"cancel: strict needs a driver that can keep state .*'state: <id of a store>'"
    ):
        app.check()


async def test_unknown_queues_and_closed_apps(make_app: Callable[..., App]) -> None:
    app = make_app()
    app.queue("jobs")
    with pytest.raises(LifecycleError, match="the app is not open"):
        await app.jobs.cancel("a")
    async with app:
        with pytest.raises(QueueNotFoundError, match="did you mean 'app:jobs'"):
            await app.jobs.cancel("a", queue="job")


async def test_an_actor_that_may_not(make_app: Callable[..., App]) -> None:
    app, errors = make_app(), []
    app.queue("later")
    for name, actions, effect in (("most", "*", "allow"), ("not_this", "queue.cancel.queue", "deny")):
        app.entry(name, "security.policy", {"policy": {"actions": actions, "resources": "*", "effect": effect}})

    @app.queue("jobs").consumer(
        lifecycle={"security": {"actor": {"id": "worker"}, "policies": ["most", "not_this"]}},
    )
    async def work(body: str, context: Context) -> None:
        try:
            await context.queues.cancel(body, queue="later")
        except PolicyDeniedError as error:
            errors.append(str(error))

    async with app.worker():
        await app.publish("jobs", "a")
        await empty(app, "jobs")
    assert errors == ["not allowed to cancel messages of queue: app:later"]


async def empty(app: App, queue: str) -> None:
    while (await app.queue(queue).info())["message_count"]:
        await asyncio.sleep(0.01)
