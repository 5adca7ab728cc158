"""Sleeps and waits: the handler ends, its message rests at the broker, and goes on after its steps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from tasuki import App, Context
from tasuki.errors import (
    HandlerError,
    PolicyDeniedError,
    QueueNotFoundError,
    UnsupportedError,
    WaitTimeoutError,
)
from tasuki.flow.signals import SIGNALS, WAITS
from tasuki.security.actor import Actor
from tasuki.security.guard import Guard
from tasuki.security.policy import Scope
from tests.unit.app.stores import store_of
from tests.unit.app.test_steps import Effects, record_of, until
from tests.unit.security.test_policy import policy

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


def now() -> float:
    return asyncio.get_running_loop().time()


class Session:
    """What a provider makes."""


async def keys_of(app: App, prefix: str) -> list[str]:
    return [entry.key for entry in (await (await store_of(app)).list(prefix)).entries]


async def test_a_sleep_holds_no_worker_and_counts_no_attempt(make_app: Callable[..., App]) -> None:
    app, effects, ends = make_app(), Effects(), list[Any]()
    jobs = app.queue("jobs")

    @jobs.consumer(concurrency=1)
    async def work(body: int, context: Context) -> None:
        await context.step("one", effects.plain, body)
        await context.sleep("20m")
        await context.step("two", effects.plain, -body)
        await context.sleep(timedelta(minutes=5))
        await context.sleep(60, name="a minute")
        ends.append((body, context.attempt, context.delivery.failures, now()))

    async with app.worker():
        began = now()
        first = await jobs.publish(1)
        await until(lambda: effects.done == [1])
        second = await jobs.publish(2)
        await until(lambda: len(ends) == 2)
        await asyncio.sleep(1)
        assert await record_of(app, first.id) is None
        assert await record_of(app, second.id) is None
    assert effects.done == [1, 2, -1, -2]
    for number, (body, attempt, failures, at) in enumerate(ends, 1):
        assert (body, attempt, failures) == (number, 1, 0)
        assert 1560 <= at - began < 1562


async def test_a_crash_does_not_lengthen_a_sleep(make_app: Callable[..., App]) -> None:
    app, ends = make_app(), list[Any]()
    jobs = app.queue("jobs")

    @jobs.consumer(retry={"initial_delay": "1m", "jitter": 0})
    async def work(body: int, context: Context) -> None:
        try:
            await context.sleep("10m")
        finally:
            if not ends:
                ends.append(context.attempt)
                raise ValueError("boom")
        ends.append(now())

    async with app.worker():
        began = now()
        await jobs.publish(1)
        await until(lambda: len(ends) == 2)
    assert ends[0] == 1
    assert 600 <= ends[1] - began < 602, "of its first run"


async def test_a_sleep_that_was_caught_is_kept(make_app: Callable[..., App], caplog: pytest.LogCaptureFixture) -> None:
    app, ends = make_app(), list[Any]()
    jobs = app.queue("jobs")

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        try:
            await context.sleep("10m")
        except Exception:
            ends.append("an Exception")
        except BaseException:
            with pytest.raises(HandlerError, match="let it pass"):
                await context.step("more", ends.append, "more")
            return
        ends.append(now())

    async with app.worker():
        began = now()
        await jobs.publish(1)
        await until(lambda: bool(ends))
    assert 600 <= ends[0] - began < 602
    assert "caught the Suspended" in caplog.text


@pytest.mark.parametrize("delay", [0, 5, 500])
async def test_a_signal_wakes_the_message(make_app: Callable[..., App], delay: float) -> None:
    app, ends = make_app(), list[Any]()
    jobs = app.queue("jobs")

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        value = await context.wait_for("approved", body, "7d")
        ends.append((value, context.attempt, now()))
        if len(ends) == 1:
            raise ValueError("boom")

    async with app.worker():
        job = await jobs.publish(7)
        await asyncio.sleep(delay)
        began = now()
        assert await app.signal("approved", "7", {"by": "kana"})
        assert not await app.signal("approved", 7, "late")
        await until(lambda: len(ends) == 2)
        await asyncio.sleep(1)
        assert await record_of(app, job.id) is None
        assert not await keys_of(app, WAITS)
        assert len(await keys_of(app, SIGNALS)) == 1
    assert [end[:2] for end in ends] == [({"by": "kana"}, 1), ({"by": "kana"}, 2)]
    assert ends[0][2] - began < 1


async def test_a_signal_that_came_before_is_found(make_app: Callable[..., App]) -> None:
    app, ends = make_app(), list[Any]()
    jobs = app.queue("jobs")

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        ends.append(await context.wait_for("approved", body, "7d"))
        ends.append(await context.wait_for("approved", body, "7d", name="once more"))
        ends.append(await context.signal("done", body, None))

    async with app.worker():
        assert await app.signal("approved", 7, "first")
        assert not await app.signal("approved", 7, "second")
        await jobs.publish(7)
        await until(lambda: len(ends) == 3)
    assert ends == ["first", "first", True]


async def test_a_wait_ends(make_app: Callable[..., App]) -> None:
    app, ends = make_app(), list[Any]()
    jobs = app.queue("jobs", dead_letter={"queue": "dead"})
    dead = app.queue("dead")

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        ends.append(await context.wait_for("approved", body, "10m", default="none"))
        ends.append(now())
        with pytest.raises(WaitTimeoutError, match="no signal 'paid' for '7' came within 10s"):
            await context.wait_for("paid", body, "10s")
        await app.signal("approved", body, "too late")
        await context.sleep(1)
        await context.wait_for("shipped", body, 5)

    async with app.worker():
        began = now()
        await jobs.publish(7)
        while not (await dead.info())["message_count"]:
            await asyncio.sleep(1)
        (letter,) = await dead.peek(1)
    assert ends[0] == ends[2] == ends[-2] == "none", "the outcome is recorded"
    assert 600 <= ends[1] - began < 602
    assert letter.headers["x_dead_letter_reason"] == "not_retryable"


async def test_a_waiting_message_is_cancelled(make_app: Callable[..., App]) -> None:
    app, ends = make_app(), list[Any]()
    jobs = app.queue("jobs")

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        ends.append("began")
        await context.wait_for("approved", body, "7d")
        ends.append("woken")

    async with app.worker():
        job = await jobs.publish(7)
        await until(lambda: bool(ends))
        await asyncio.sleep(100)
        assert await app.jobs.cancel(job.id, queue="jobs") == "waiting"
        assert await app.signal("approved", 7)
        await asyncio.sleep(100)
        assert not (await jobs.info())["message_count"]
    assert ends == ["began"]


async def test_many_messages_wait_for_one_signal(make_app: Callable[..., App]) -> None:
    app, ends = make_app(), list[Any]()
    jobs, others = app.queue("jobs"), app.queue("others", ordering="key")

    @jobs.consumer
    @others.consumer
    async def work(body: int, context: Context) -> None:
        ends.append((body, await context.wait_for("open", "shop", "7d")))

    async with app.worker():
        await jobs.publish_many(list(range(5)))
        await others.publish(5, key="a")
        await others.publish(6, key="a")
        await asyncio.sleep(10)
        assert await app.signal("open", "shop", 1)
        await until(lambda: len(ends) == 7)
    assert sorted(ends) == [(number, 1) for number in range(7)]


async def test_what_is_refused(make_app: Callable[..., App]) -> None:
    app, texts = make_app(), list[str]()
    jobs, batches = app.queue("jobs"), app.queue("batches")

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        calls: list[Callable[[], Any]] = [
            lambda: context.wait_for("a\n", 1, 1),
            lambda: context.wait_for("a", 1.5, 1),  # type: ignore[arg-type]
            lambda: context.wait_for("a", "\ud800", 1),
            lambda: context.signal("a", 1, (1, 2)),
            lambda: context.signal("a", 1, "x" * 70_000),
        ]
        for call in calls:
            with pytest.raises(HandlerError) as error:
                await call()
            assert error.value.kind == "Invalid"
            texts.append(str(error.value))
        with pytest.raises(ValueError, match="is not a duration"):
            await context.sleep("3 apples")

    @batches.consumer(batch={"size": 2})
    async def gather(bodies: list[int], context: Context) -> None:
        with pytest.raises(HandlerError, match=r"context\.sleep ends the handler") as error:
            await context.batch[0].sleep(1)
        texts.append(str(error.value))

    async with app.worker():
        await jobs.publish(1)
        await batches.publish(1)
        await until(lambda: len(texts) == 6)
    assert len(set(texts)) == 6


async def test_who_may_signal(make_app: Callable[..., App], caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    app.queue("jobs")
    async with app:
        with caplog.at_level("INFO", "tasuki.app"):
            assert await app.signal("approved", 7, actor="kana")
        (record,) = [each for each in caplog.records if each.getMessage().startswith("signal")]
        assert record.getMessage() == "signal approved for 7: given, 0 waiting"
        assert record.__dict__["actor"] == "kana"
        rules = policy(actions="queue.signal", resources="appr*")
        app._runtime.live().rights.application = Guard(Actor("me"), Scope([rules]))
        assert not await app.signal("approved", 7)
        with pytest.raises(PolicyDeniedError, match="not allowed to signal: paid"):
            await app.signal("paid", 7)


async def test_a_signal_needs_a_state(make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasuki.app.host.ProjectHost.state_of", lambda *_: None)
    app = make_app()
    async with app:
        with pytest.raises(QueueNotFoundError, match="the project has no queue"):
            await app.signal("approved", 7)
    app = make_app()
    app.queue("jobs")
    async with app:
        with pytest.raises(UnsupportedError, match="which a signal needs"):
            await app.signal("approved", 7)


async def test_what_a_handler_is_given_is_closed_when_it_sleeps(make_app: Callable[..., App]) -> None:
    app, seen = make_app(), list[str]()
    jobs = app.queue("jobs")

    @app.provide(scope="message")
    async def session() -> AsyncIterator[Session]:
        try:
            yield Session()
        except Exception:
            seen.append("an Exception")
            raise
        finally:
            seen.append("closed")

    @jobs.consumer
    async def work(body: int, session: Session, context: Context) -> None:
        await context.sleep(5)
        seen.append("end")

    async with app.worker():
        await jobs.publish(1)
        await until(lambda: "end" in seen)
        await until(lambda: seen.count("closed") > 1)
    assert seen == ["closed", "end", "closed"]


async def test_a_key_of_a_message_that_sleeps_is_not_done(make_app: Callable[..., App]) -> None:
    app, ends = make_app(), list[Any]()
    jobs = app.queue("jobs")

    @jobs.consumer(idempotency="id")
    async def work(body: int, context: Context) -> None:
        if body:
            await context.sleep(5)
        else:
            with suppress(BaseException):  # which it must not
                await context.sleep(5)
                ends.append("end")
            return
        ends.append(context.attempt)

    async with app.worker():
        await jobs.publish(1)
        await until(lambda: ends == [1])
        await jobs.publish(0)
        await until(lambda: ends == [1, "end"])


async def test_a_plain_function_and_the_functions_that_it_calls(make_app: Callable[..., App]) -> None:
    app, ends = make_app(), list[Any]()
    jobs = app.queue("jobs", result="1h")

    async def rest(context: Context) -> str:
        await context.sleep("1m", name="rest")
        return "rested"

    @jobs.consumer
    async def work(body: int, context: Context) -> str:
        with pytest.raises(HandlerError, match=r"await context\.sleep"):
            context.sync.sleep(1)
        with pytest.raises(HandlerError, match=r"await context\.wait_for"):
            context.sync.wait_for("a", 1, 1)
        return await rest(context)

    async with app.worker():
        job = await jobs.publish(1)
        await asyncio.sleep(10)
        assert await job.status() == "delayed"
        ends.append(await job.result(timeout="10m"))
    assert ends == ["rested"]
