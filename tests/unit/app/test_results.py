"""What becomes of a job: its status, its progress, and its result before the ack."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tasuki import App, Context, Reject
from tasuki.contracts.state.jobs import Progress
from tasuki.contracts.state.store import Entry
from tasuki.errors import (
    BrokerUnavailableError,
    HandlerError,
    ProjectError,
    RequestTimeoutError,
    UnsupportedError,
)
from tasuki.queues.result import Confirmed
from tasuki.state.job_records import decode
from tests.unit.app.stores import store_of

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


@dataclass
class Sum:
    total: int


async def test_what_a_handler_returns_is_kept(make_app: Callable[..., App]) -> None:
    app = make_app()
    jobs = app.queue("jobs", result={"ttl": "1h"})

    @jobs.consumer
    async def work(body: list[int]) -> Sum:
        return Sum(sum(body))

    async with app.worker():
        job = await jobs.publish([1, 2])
        assert isinstance(job, Confirmed)
        assert await job.result() == {"total": 3}
        assert await job.result(returns=Sum) == Sum(3)
        assert await job.status() == "done"
        assert await app.jobs.get(job.id, queue=jobs).result() == {"total": 3}
        await asyncio.sleep(3605)
        assert await job.status() == "unknown"


async def test_the_status_follows_the_job(make_app: Callable[..., App]) -> None:
    app, gates = make_app(), [asyncio.Event(), asyncio.Event()]
    jobs = app.queue("jobs", result="1h", dead_letter={"queue": "dead", "max_attempts": 2})
    app.queue("dead")

    @jobs.consumer(retry={"initial_delay": "1m", "max_delay": "1m"})
    async def work(body: int, context: Context) -> None:
        await gates[context.attempt - 1].wait()
        raise ValueError("boom")

    async with app.worker():
        job = await jobs.publish(1, delay="1m")
        assert await job.status() == "delayed"
        await asyncio.sleep(61)
        assert await job.status() == "running"
        gates[0].set()
        await asyncio.sleep(1)
        assert await job.status() == "delayed"  # for its second attempt
        await asyncio.sleep(90)
        assert await job.status() == "running"
        gates[1].set()
        with pytest.raises(HandlerError, match="ValueError: boom") as caught:
            await job.result()
        assert await job.status() == "dead"
    assert caught.value.names == ["ValueError"]
    assert caught.value.details == {"reason": "max_attempts"}


async def test_a_cancelled_job(make_app: Callable[..., App]) -> None:
    app = make_app()
    jobs = app.queue("jobs", result="1h")

    @jobs.consumer
    async def work(body: int) -> None:
        await asyncio.sleep(3600)

    async with app.worker():
        running, waiting = await jobs.publish(1), await jobs.publish(2, delay="1h")
        await asyncio.sleep(1)
        assert (await running.cancel(), await waiting.cancel()) == ("running", "waiting")
        for job in (running, waiting):
            with pytest.raises(HandlerError, match="the message was cancelled") as caught:
                await job.result()
            assert caught.value.kind == "Canceled"
            assert await job.status() == "cancelled"


async def test_progress_is_written_once_a_second_and_at_the_end(make_app: Callable[..., App]) -> None:
    app, seen = make_app(), []
    jobs = app.queue("jobs", result="1h")

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        for step in range(1, 101):
            context.progress(step, 100, f"row {step}")
            await asyncio.sleep(0.1)

    async with app.worker():
        job = await jobs.publish(1)
        assert await job.progress() is None
        async for _ in (await store_of(app)).watch("result/"):
            progress = await job.progress()
            seen.append(progress)
            if await job.status() == "done":
                break
        assert seen[-1] == Progress(100, 100, "row 100")
        assert 10 <= len(seen) <= 16


async def test_the_last_progress_of_a_thread_is_not_overtaken_by_its_end(make_app: Callable[..., App]) -> None:
    app = make_app()
    jobs = app.queue("jobs", result="1h")

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        thread = threading.Thread(target=lambda: context.progress(body, 10))
        thread.start()
        thread.join()  # the loop hears of nothing until the handler has returned

    async with app.worker():
        job = await jobs.publish(4)
        await job.result()
        assert await job.progress() == Progress(4, 10)


async def test_a_progress_that_is_long_on_its_way_does_not_follow_the_end(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    jobs = app.queue("jobs", result="1h")

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        context.progress(1, 10)
        await asyncio.sleep(1)

    async with app.worker():
        store = await store_of(app)
        put = store.put

        async def slow(key: str, value: bytes, **named: Any) -> int:
            record = decode(value) if key.startswith("result/") else None
            if record is not None and record.progress is not None and record.status == "running":
                await asyncio.sleep(5)
            return await put(key, value, **named)

        monkeypatch.setattr(store, "put", slow)
        job = await jobs.publish(4)
        await asyncio.sleep(20)
        assert await job.status() == "done"


async def test_a_result_that_cannot_be_kept(make_app: Callable[..., App]) -> None:
    app = make_app()
    jobs = app.queue("jobs", result={"max_size": 100})

    @jobs.consumer
    async def work(body: str) -> Any:
        return "x" * 200 if body == "large" else object()

    async with app.worker():
        large, foreign = await jobs.publish("large"), await jobs.publish("foreign")
        with pytest.raises(HandlerError, match=r"cannot be kept: it has 202 bytes, and max_size of .* is 100"):
            await large.result()
        with pytest.raises(HandlerError, match="cannot be kept: "):
            await foreign.result()
        assert await large.status() == "done"


async def test_a_result_that_its_store_does_not_take(make_app: Callable[..., App]) -> None:
    app = make_app()
    jobs = app.queue("jobs", result={"max_size": "8 MiB"})

    @jobs.consumer
    async def work(body: int) -> str:
        return "x" * 2**21

    async with app.worker():
        job = await jobs.publish(1)
        with pytest.raises(HandlerError, match=r"cannot be kept: .* bytes, and may have 1048576 at most"):
            await job.result()
        await asyncio.sleep(1)
        assert (await jobs.info())["message_count"] == 0


async def test_a_long_id_has_a_result_too(make_app: Callable[..., App]) -> None:
    app = make_app()
    jobs = app.queue("jobs", result="1h")

    @jobs.consumer
    async def work(body: int) -> int:
        return body

    async with app.worker():
        assert await (await jobs.publish(7, id="字" * 255)).result() == 7


async def test_the_message_is_not_acked_before_its_result_is_kept(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    jobs = app.queue("jobs", result="1h")

    @jobs.consumer
    async def work(body: int) -> int:
        return body

    async with app.worker():
        await (await jobs.publish(0)).result()
        store, is_away = await store_of(app), True
        put = store.put

        async def refuse(*args: Any, **named: Any) -> int:
            if is_away:
                raise BrokerUnavailableError("gone")
            return await put(*args, **named)

        monkeypatch.setattr(store, "put", refuse)
        job = await jobs.publish(1)
        await asyncio.sleep(10)
        assert (await jobs.info())["in_flight"] == 1
        with pytest.raises(RequestTimeoutError, match="has not started after 5s"):
            await job.result("5s")
        is_away = False
        assert await job.result("10m") == 1
        await asyncio.sleep(1)
        assert (await jobs.info())["message_count"] == 0


async def test_a_store_without_an_answer_holds_up_no_handler(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, attempts, silence = make_app(), [], asyncio.Event()
    jobs = app.queue("jobs", result="1h")

    @jobs.consumer(handler_timeout="3s")
    async def work(body: int, context: Context) -> int:
        attempts.append(context.attempt)
        return body

    async with app.worker():
        store = await store_of(app)
        put = store.put

        async def wait(*args: Any, **named: Any) -> int:
            await silence.wait()
            return await put(*args, **named)

        monkeypatch.setattr(store, "put", wait)
        job = await jobs.publish(1)
        await asyncio.sleep(60)
        assert attempts == [1]
        silence.set()
        assert await job.result() == 1
    assert attempts == [1]


async def test_each_message_of_a_batch_has_its_result(make_app: Callable[..., App]) -> None:
    app = make_app()
    jobs = app.queue("jobs", result="1h", dead_letter={"queue": "dead", "max_attempts": 1})
    app.queue("dead")

    @jobs.consumer(batch={"size": 3})
    async def work(bodies: list[int]) -> list[object]:
        return [ValueError("odd") if body % 2 else body * 2 for body in bodies]

    async with app.worker():
        found = [await jobs.publish(number) for number in (1, 2, 4)]
        assert [await job.result() for job in found[1:]] == [4, 8]
        with pytest.raises(HandlerError, match="odd"):
            await found[0].result()


async def test_a_message_that_is_acked_first_has_a_result_too(make_app: Callable[..., App]) -> None:
    app = make_app()
    jobs = app.queue("jobs", result="1h")

    @jobs.consumer(auto_ack=True)
    async def work(body: int) -> int:
        if body == 0:
            raise ValueError("boom")
        return body

    async with app.worker():
        bad, good = await jobs.publish(0), await jobs.publish(1)
        assert await good.result() == 1
        with pytest.raises(HandlerError, match="the handler failed"):
            await bad.result()


async def test_a_handler_that_settles_its_message_itself(make_app: Callable[..., App]) -> None:
    app = make_app()
    jobs = app.queue("jobs", result="1h")

    @jobs.consumer
    async def work(body: int, context: Context) -> int:
        if body == 0:
            raise Reject("never")
        context.ack()
        await asyncio.sleep(1)
        return body

    async with app.worker():
        assert await (await jobs.publish(1)).result() == 1


@pytest.mark.parametrize("acks_first", [True, False])
@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_the_job_of_an_acked_message_ends_with_its_handler(
    make_app: Callable[..., App], acks_first: bool, is_cancelled: bool
) -> None:
    app = make_app()
    jobs = app.queue("jobs", result="1h")

    @jobs.consumer(auto_ack=acks_first)
    async def work(body: int, context: Context) -> None:
        if not acks_first:
            context.ack()
        await asyncio.sleep(1)
        if is_cancelled:
            await asyncio.sleep(3600)
        raise ValueError("boom")

    async with app.worker():
        job = await jobs.publish(1)
        while await job.status() != "running":
            await asyncio.sleep(0.1)
        if is_cancelled:
            assert await job.cancel() == "running"
        with pytest.raises(HandlerError, match="was cancelled" if is_cancelled else "failed; its message was acked"):
            await job.result()
        assert await job.status() == ("cancelled" if is_cancelled else "failed")


async def test_a_queue_that_keeps_no_results(make_app: Callable[..., App]) -> None:
    app = make_app()
    jobs = app.queue("jobs")
    async with app:
        job = await jobs.publish(1)
        assert await job.status() == "waiting"
        assert await job.progress() is None
        with pytest.raises(
            UnsupportedError, match=r"queue 'app:jobs' keeps no results: write result: 1h at it \(result='1h' in code\)"
        ):
            await job.result()
        await job.cancel()
        assert await job.status() == "cancelled"
        assert await app.jobs.get("other", queue=jobs).status() == "unknown"


async def test_results_need_a_state(make_app: Callable[..., App]) -> None:
    app = make_app("amqp://127.0.0.1:1")
    app.queue("jobs", result="1h")
    with pytest.raises(ProjectError, match="result needs a driver that can keep state"):
        app.check()


async def test_a_result_is_waited_for_by_the_watch_of_the_store(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, gate = make_app(), asyncio.Event()
    jobs = app.queue("jobs", result="1h")

    @jobs.consumer
    async def work(body: int) -> int:
        await gate.wait()
        return body

    async with app.worker():
        job = await jobs.publish(7)
        store, reads = await store_of(app), list[str]()
        get = store.get

        async def counted(key: str) -> Entry | None:
            reads.append(key)
            return await get(key)

        monkeypatch.setattr(store, "get", counted)
        waiting = asyncio.create_task(job.result("2h"))
        await asyncio.sleep(3600)
        assert len(reads) == 1
        gate.set()
        assert await waiting == 7
        assert len(reads) == 1
        with pytest.raises(RequestTimeoutError):
            await app.jobs.get("never", queue=jobs).result("1m")


async def test_the_result_of_a_task_is_of_the_type_that_it_says(make_app: Callable[..., App]) -> None:
    app = make_app()
    jobs = app.queue("jobs", result="1h")

    @jobs.task
    async def add(numbers: list[int]) -> Sum:
        return Sum(sum(numbers))

    async with app.worker():
        job = await add.publish([1, 2])
        assert await job.result() == Sum(3)
        assert await job.result(returns=dict[str, int]) == {"total": 3}
        assert repr(job) == f"Job(id='{job.id}', queue='app:jobs', outcome='stored')"


async def test_an_expired_message_says_so(make_app: Callable[..., App]) -> None:
    app = make_app()
    jobs = app.queue("jobs", result="1h", on_expire="drop")

    @jobs.consumer
    async def work(body: int) -> int:
        return body

    async with app:
        job = await jobs.publish(1, ttl="1s")
        await asyncio.sleep(2)
        await app.start()
        await asyncio.sleep(1)
        assert await job.status() == "expired"
        with pytest.raises(HandlerError, match="its time to live has passed"):
            await job.result()
