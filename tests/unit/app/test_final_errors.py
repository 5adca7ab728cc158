"""Errors of what a worker owes before the ack of a message, on the path through an app: final and healing ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tasuki import App, Context, Reject
from tasuki.contracts.state.store import Store
from tasuki.errors import (
    AccessDeniedError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    QueueFullError,
    StopTimeoutError,
    StorageFullError,
    StoreFullError,
    StoreLimitError,
)
from tasuki.flow.group_records import Membership, group_key
from tasuki.flow.groups import withdraw
from tasuki.queues.queue import GroupEnvelope
from tests.unit.app.stores import store_of
from tests.unit.app.test_groups import Site, until

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


def now() -> float:
    return asyncio.get_running_loop().time()


class Broken:
    """Lets each write to a store, or each publish to a queue of the memory driver, fail while ``error`` is set."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.keys = ""
        """Only writes of keys that begin so fail."""
        self.failures = 0
        self.seconds = 0.0
        """The store answers so late."""

    def breaks(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        put = store.put

        async def put_or_fail(key: str, *args: Any, **named: Any) -> int:
            if key.startswith(self.keys):
                await asyncio.sleep(self.seconds)
                if self.error is not None:
                    self.failures += 1
                    raise self.error
            return await put(key, *args, **named)

        monkeypatch.setattr(store, "put", put_or_fail)

    def breaks_publishing(self, app: App, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
        driver = app._runtime.live().queue(f"app:{queue}").driver
        publish = driver.publish

        async def publish_or_fail(name: str, batch: Any) -> Any:
            if name.endswith(queue) and self.error is not None:
                self.failures += 1
                if not isinstance(self.error, DriverError):
                    raise self.error
                return [self.error] * len(batch)
            return await publish(name, batch)

        move = driver.move

        async def move_or_fail(name: str, moves: Any) -> Any:
            if self.error is not None and all(each.to.endswith(queue) for each in moves):
                self.failures += 1
                if not isinstance(self.error, DriverError):
                    raise self.error
                return [self.error] * len(moves)
            return await move(name, moves)

        monkeypatch.setattr(driver, "publish", publish_or_fail)
        monkeypatch.setattr(driver, "move", move_or_fail)


def findings(app: App, check: str) -> list[tuple[str, str]]:
    return [(each["status"], each["text"]) for each in app.health.report().as_dict()["checks"] if each["name"] == check]


@pytest.fixture
def site(make_app: Callable[..., App]) -> Site:
    return Site(make_app())


@asynccontextmanager
async def running(site: Site) -> AsyncIterator[Store]:
    async with site.app.worker():
        yield await store_of(site.app)


async def test_a_blip_of_the_store_keeps_a_finished_message_for_less_than_a_second(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, broken = make_app(), Broken()
    jobs = app.queue("jobs", result="1d", retry={"initial_delay": "1h", "max_delay": "1h"})

    @jobs.consumer
    async def work(body: int) -> int:
        broken.error = BrokerUnavailableError("gone")
        return body

    async with app.worker():
        broken.breaks(await store_of(app), monkeypatch)
        job = await jobs.publish(1)
        await until(lambda: broken.failures > 0)
        broken.error = None
        since = now()
        assert await job.result() == 1
        assert now() - since < 1


async def test_a_store_that_takes_no_writes_is_not_ready_and_back_within_two_seconds(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, broken = make_app(), Broken()
    jobs = app.queue("jobs", result="1d")

    @jobs.consumer(prefetch=2)
    async def work(body: int) -> int:
        return body

    async with app.worker():
        broken.breaks(await store_of(app), monkeypatch)
        broken.error = StoreFullError("store 'state' is full: the disk is full")
        found = [await jobs.publish(number) for number in range(10)]
        await asyncio.sleep(8)
        ((status, text),) = findings(app, "consumer app:work.consumer")
        assert (status, app.health.report().as_dict()["live"]) == ("not_ready", True)
        assert "4 handled messages are kept" in text
        assert "the disk is full" in text
        await asyncio.sleep(300)
        broken.error, since = None, now()
        assert [await job.result() for job in found] == list(range(10))
        assert now() - since < 2.1
        await asyncio.sleep(1)
        assert findings(app, "consumer app:work.consumer") == [("ok", "")]


async def test_a_kept_message_is_a_warning_after_thirty_seconds(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, broken = make_app(), Broken()
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1})
    app.queue("dead")

    @jobs.consumer(prefetch=10)
    async def work(body: int) -> None:
        raise ValueError("boom")

    async with app.worker():
        broken.breaks_publishing(app, "dead", monkeypatch)
        broken.error = QueueFullError("queue 'dead' holds 3 messages")
        await jobs.publish(1)
        await asyncio.sleep(20)
        assert findings(app, "consumer app:work.consumer") == [("ok", "")]
        await asyncio.sleep(15)
        ((status, text),) = findings(app, "consumer app:work.consumer")
        assert (status, app.health.report().as_dict()["ready"]) == ("warning", True)
        assert text.startswith("1 handled messages are kept, the oldest for 3")
        assert "cannot be dead-lettered: QueueFullError" in text


async def test_a_full_disk_of_the_broker_is_not_ready_until_a_publish_succeeds(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, broken = make_app(), Broken()
    jobs = app.queue("jobs", overflow="reject")
    async with app:
        broken.breaks_publishing(app, "jobs", monkeypatch)
        broken.error = StorageFullError("the disk is full")
        for _ in range(3):
            with pytest.raises(StorageFullError):
                await jobs.publish(1)
            assert findings(app, "queue app:jobs") == [("not_ready", "publishing is refused: the disk is full")]
            await asyncio.sleep(5)
        broken.error = None
        await jobs.publish(1)
        assert findings(app, "queue app:jobs") == []
        broken.error = StorageFullError("the disk is full")
        with pytest.raises(StorageFullError):
            await jobs.publish(1)
        await asyncio.sleep(16)
        assert findings(app, "queue app:jobs") == []


async def test_messages_whose_group_no_state_knows_are_acked_and_hold_up_no_other(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(site):
        lost = str(Membership("app:renamed", 0, "g"))
        queue = site.app._runtime.live().queue("app:jobs")
        await queue.publish_many([GroupEnvelope(body=number, group=lost) for number in range(20)])
        await queue.publish_many(list(range(20, 60)))
        await until(lambda: len(site.done) == 60)
        await asyncio.sleep(2)
        assert (await site.jobs.info())["message_count"] == 0
    assert sorted(site.done) == list(range(60))
    assert "cannot be ended as a member of its group, ever: QueueNotFoundError" in caplog.text


async def test_a_renamed_home_queue_does_not_stop_what_follows(site: Site) -> None:
    async with running(site) as store:
        await site.app.group([site.jobs.message("early", delay="1d")], then=site.ends, id="g")
        found = await store.get(group_key("g"))
        assert found is not None
        header = str(Membership("app:renamed", 0, "g"))
        await site.app._runtime.live().queue("app:jobs").publish_many([GroupEnvelope(body="late", group=header)])
        await until(lambda: bool(site.ended))
    assert site.ended == [("group:g", [{"of": "late"}])]


async def test_a_then_that_is_too_large_for_its_queue_is_an_error(
    make_app: Callable[..., App], caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    jobs, small = app.queue("jobs"), app.queue("small", max_message_size=1000)
    errors, told = app.queue("errors"), list[Any]()

    @jobs.consumer(prefetch=1)
    async def work(body: int) -> str:
        return "x" * body

    @errors.consumer
    async def fail(body: Any) -> None:
        told.append(body)

    async with app.worker():
        for _ in range(3):
            await jobs.publish(2000, then=small, on_error=errors)
        await until(lambda: len(told) == 3)
        await asyncio.sleep(2)
        assert (await jobs.info())["message_count"] == 0
    assert "is done, and its next message cannot be published" in caplog.text


async def test_an_on_error_that_cannot_be_published_is_an_error_in_the_log(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken()
    async with running(site):
        broken.breaks_publishing(site.app, "errors", monkeypatch)
        broken.error = AccessDeniedError("not allowed")
        await site.jobs.publish("reject", on_error=site.errors)
        await until(lambda: "its on_error cannot be published" in caplog.text)
        await asyncio.sleep(2)
        assert (await site.jobs.info())["message_count"] == 0
        assert (await site.dead.depth()).ready == 1


@pytest.mark.parametrize("queue", ["ends", "errors"])
async def test_what_follows_comes_once_its_queue_is_back(
    site: Site, monkeypatch: pytest.MonkeyPatch, queue: str
) -> None:
    broken = Broken()
    async with running(site):
        broken.breaks_publishing(site.app, queue, monkeypatch)
        broken.error = BrokerTimeoutError("no answer")
        body = "good" if queue == "ends" else "reject"
        await site.jobs.publish(body, then=site.ends, on_error=site.errors)
        await until(lambda: broken.failures > 3)
        assert not site.ended + site.failed
        broken.error, since = None, now()
        await until(lambda: bool(site.ended + site.failed))
        assert now() - since < 2.1


async def test_a_blip_of_the_store_of_a_group_delays_what_follows_for_less_than_a_second(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, broken, ended = make_app(), Broken(), list[Any]()
    jobs = app.queue("jobs", retry={"initial_delay": "1h", "max_delay": "1h"})
    ends = app.queue("ends")

    @jobs.consumer
    async def work(body: int) -> int:
        broken.error = StoreFullError("full")
        return body

    @ends.consumer
    async def end(body: Any) -> None:
        ended.append(body)

    async with app.worker():
        broken.keys = "group/"
        await app.group([jobs.message(1)], then=ends)
        broken.breaks(await store_of(app), monkeypatch)
        await until(lambda: broken.failures > 0)
        broken.error, since = None, now()
        await until(lambda: bool(ended))
        assert now() - since < 1
    assert ended == [[1]]


async def test_the_end_of_an_acked_message_that_may_not_be_written_is_an_error_in_the_log(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app, broken = make_app(), Broken()
    jobs = app.queue("jobs", result="1d")

    @jobs.consumer
    async def work(body: int, context: Context) -> int:
        context.ack()
        broken.error = AccessDeniedError("no")
        return body

    async with app.worker():
        await jobs.publish(1)
        broken.breaks(await store_of(app), monkeypatch)
        await until(lambda: "cannot be kept as the result of an acked message, ever" in caplog.text)


@pytest.mark.parametrize("error", [BrokerUnavailableError("gone"), AccessDeniedError("no"), ValueError("defect")])
async def test_the_reply_of_a_message_that_is_given_up_is_tried_once(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    app, broken = make_app(), Broken()
    jobs, dead = app.queue("jobs", dead_letter="dead"), app.queue("dead")
    app.queue("answers", overflow="reject")

    @jobs.consumer
    async def work(body: int) -> None:
        raise Reject("no")

    async with app.worker():
        broken.breaks_publishing(app, "answers", monkeypatch)
        broken.error = error
        await jobs.publish(1, {"reply_to": "app:answers"})
        await until(lambda: broken.failures > 0)
        async with asyncio.timeout(30):
            while not (await dead.depth()).ready:
                await asyncio.sleep(0.1)
        assert broken.failures == 1
    assert "cannot be replied to" in caplog.text or "no reply to" in caplog.text


async def test_a_result_that_the_store_of_its_group_does_not_take_is_an_error(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(site) as store:
        put = store.put

        async def limited(key: str, value: bytes, **named: Any) -> int:
            if len(value) > 5000:
                raise StoreLimitError("a value has at most 5000 bytes")
            return await put(key, value, **named)

        monkeypatch.setattr(store, "put", limited)
        await site.app.group([site.jobs.message(6000)], then=site.ends, on_error=site.errors)
        await until(lambda: bool(site.failed))
        await asyncio.sleep(2)
        assert (await site.jobs.info())["message_count"] == 0
    assert "a value has at most 5000 bytes" in site.failed[0][1]["message"]


async def test_a_result_that_may_not_be_kept_is_an_error_in_the_log(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app, broken, seen = make_app(), Broken(), []
    jobs = app.queue("jobs", result="1d")

    @jobs.consumer
    async def work(body: int) -> int:
        seen.append(body)
        return body

    async with app.worker():
        broken.breaks(await store_of(app), monkeypatch)
        broken.error = AccessDeniedError("this user may not write")
        await jobs.publish_many(list(range(30)))
        await until(lambda: len(seen) == 30)
        await asyncio.sleep(1)
        assert (await jobs.info())["message_count"] == 0
    assert "cannot be settled, as its result cannot be kept, ever: AccessDeniedError" in caplog.text


@pytest.mark.parametrize("owed", ["result", "member", "reply", "late", "then", "on_error"])
async def test_a_defect_is_tried_for_a_minute_and_keeps_no_message_for_ever(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, owed: str
) -> None:
    app, broken, seen = make_app(), Broken(), list[int]()
    jobs = app.queue("jobs", result="1d" if owed == "result" else None, dead_letter="dead")
    for name in ("answers", "dead"):
        app.queue(name)
    ends = app.queue("ends")

    @jobs.consumer
    async def work(body: int, context: Context) -> int:
        seen.append(body)
        if owed == "late":
            context.ack()
        broken.error = ValueError("a defect")
        if owed == "on_error":
            raise Reject("no")
        return body

    async with app.worker():
        broken.keys = {"result": "result/", "member": "group/", "late": "group/"}.get(owed, "none/")
        headers = {"reply_to": "app:answers"} if owed == "reply" else {}
        following: dict[str, Any] = {"on_error": ends} if owed == "on_error" else {"then": ends}
        await jobs.publish(1, headers, **({} if owed in ("result", "reply") else following))
        broken.breaks(await store_of(app), monkeypatch)
        broken.breaks_publishing(app, "answers" if owed == "reply" else "ends", monkeypatch)
        await until(lambda: broken.failures > 0)
        since = now()
        await until(lambda: ", ever: " in caplog.text or "no reply to" in caplog.text)
        assert now() - since < 65
        await asyncio.sleep(1)
        assert (await jobs.info())["message_count"] == 0
    assert seen == [1]


@pytest.mark.parametrize("how", ["ack", "auto_ack"])
async def test_a_member_that_was_acked_early_is_ended_once_its_store_is_back(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    app, broken, ended = make_app(), Broken(), list[Any]()
    jobs, ends = app.queue("jobs"), app.queue("ends")

    @jobs.consumer(auto_ack=how == "auto_ack")
    async def work(body: int, context: Context) -> int:
        if how == "ack":
            context.ack()
        broken.error = BrokerUnavailableError("gone")
        return body

    @ends.consumer
    async def end(body: int) -> None:
        ended.append(body)

    async with app.worker():
        broken.keys = "group/"
        await jobs.publish(7, then=ends)
        broken.breaks(await store_of(app), monkeypatch)
        await until(lambda: broken.failures >= 3)
        assert (await jobs.info())["message_count"] == (how == "ack")  # whose ack follows the record of its end
        assert not ended
        broken.error = None
        await until(lambda: bool(ended))
    assert ended == [7]


async def test_the_result_of_a_message_that_was_acked_early_is_kept_once_its_store_is_back(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, broken = make_app(), Broken()
    jobs = app.queue("jobs", result="1d")

    @jobs.consumer
    async def work(body: int, context: Context) -> int:
        context.ack()
        broken.error = BrokerUnavailableError("gone")
        return body

    async with app.worker():
        job = await jobs.publish(7)
        broken.breaks(await store_of(app), monkeypatch)
        await until(lambda: broken.failures >= 3)
        broken.error = None
        assert await job.result() == 7


@pytest.mark.parametrize("how", ["result", "member"])
async def test_messages_that_are_acked_early_are_not_taken_without_end_while_their_store_is_away(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """What they owe is kept in memory: their consumer takes no more than twice its window, and says so."""
    app, broken, seen = make_app(), Broken(), list[int]()
    jobs, ends = app.queue("jobs", result="1d" if how == "result" else None), app.queue("ends")

    @jobs.consumer(auto_ack=True, concurrency=2, prefetch=4)
    async def work(body: int) -> int:
        seen.append(body)
        return body

    async with app.worker():
        broken.keys = "group/" if how == "member" else "result/"
        await app.workers.pause("jobs")
        for number in range(100):
            await jobs.publish(number, then=None if how == "result" else ends)
        broken.breaks(await store_of(app), monkeypatch)
        broken.error = BrokerUnavailableError("gone")
        await app.workers.resume("jobs")
        await asyncio.sleep(60)
        assert 8 <= len(seen) <= 12
        ((status, text),) = findings(app, "consumer app:work.consumer")
        assert status == "not_ready"
        assert "they leave no place for others" in text
        broken.error = None
        await until(lambda: len(seen) == 100)
        await asyncio.sleep(2)
        assert findings(app, "consumer app:work.consumer") == [("ok", "")]
    assert sorted(seen) == list(range(100))


async def test_a_repeated_publish_that_is_rejected_leaves_the_record_of_the_first_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = list[DriverError | None]()
    async with site.app:
        driver = site.app._runtime.live().queue("app:jobs").driver
        publish = driver.publish

        async def stored_or_not(name: str, batch: Any) -> Any:
            error = answers.pop(0) if answers and name.endswith("jobs") else None
            if error is None or error.outcome == "unknown":
                await publish(name, batch)
            return None if error is None else [error] * len(batch)

        monkeypatch.setattr(driver, "publish", stored_or_not)
        answers += [BrokerTimeoutError("no answer"), AccessDeniedError("no")]
        with pytest.raises(BrokerTimeoutError):
            await site.jobs.publish(1, id="m", then=site.ends)
        with pytest.raises(AccessDeniedError):
            await site.jobs.publish(1, id="m", then=site.ends)
        async with site.app.worker():
            await until(lambda: bool(site.ended))
    assert site.ended == [("group:m", {"of": 1})]


async def test_the_record_of_a_publish_that_was_rejected_goes_unless_another_publish_relies_on_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, is_first = asyncio.Event(), True
    async with site.app:
        driver = site.app._runtime.live().queue("app:jobs").driver
        publish = driver.publish

        async def rejected_late(name: str, batch: Any) -> Any:
            nonlocal is_first
            if name.endswith("jobs") and is_first:
                is_first = False
                await gate.wait()
                return [AccessDeniedError("no")] * len(batch)
            return await publish(name, batch)

        monkeypatch.setattr(driver, "publish", rejected_late)
        gate.set()
        with pytest.raises(AccessDeniedError):
            await site.jobs.publish(1, id="alone", then=site.ends)
        assert await site.records() == []
        is_first = True
        gate.clear()
        first = asyncio.create_task(site.jobs.publish(1, id="m", then=site.ends))
        await until(lambda: not is_first)
        second = asyncio.create_task(site.app._runtime.live().chain_from(
            None, site.app._runtime.full_id, "jobs", 1, None, {"id": "m", "then": "ends"}))  # fmt: skip
        await asyncio.sleep(1)
        gate.set()
        with pytest.raises(AccessDeniedError):
            await first
        await second
        async with site.app.worker():
            await until(lambda: bool(site.ended))
    assert site.ended == [("group:m", {"of": 1})]


async def test_a_record_that_is_withdrawn_while_another_publish_finds_it_is_written_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later one is delayed by days, so that it would keep the record for longer."""
    async with site.app:
        store = await store_of(site.app)
        get, put, versions = store.get, store.put, list[int]()

        async def put_and_note(*args: Any, **named: Any) -> int:
            versions.append(await put(*args, **named))
            return versions[-1]

        async def withdrawn_meanwhile(key: str) -> Any:
            found = await get(key)
            if found is not None and len(versions) == 1:
                versions.append(0)
                await withdraw(store, "m", versions[0])
            return found

        monkeypatch.setattr(store, "put", put_and_note)
        with monkeypatch.context() as patch:
            broken = Broken()
            broken.error = BrokerTimeoutError("no answer")
            broken.breaks_publishing(site.app, "jobs", patch)
            with pytest.raises(BrokerTimeoutError):
                await site.jobs.publish(1, id="m", then=site.ends)
        assert len(versions) == 1
        monkeypatch.setattr(store, "get", withdrawn_meanwhile)
        await site.jobs.publish(1, id="m", then=site.ends, delay="3d")
        assert await get(group_key("m")) is not None


async def test_a_member_that_was_acked_early_comes_again_if_its_handler_outlasts_the_consumer(
    make_app: Callable[..., App],
) -> None:
    app, may_end, has_begun = make_app(), asyncio.Event(), asyncio.Event()
    jobs, ends = app.queue("jobs"), app.queue("ends")

    @jobs.consumer
    async def work(body: int, context: Context) -> int:
        context.ack()
        has_begun.set()
        while not may_end.is_set():
            with suppress(asyncio.CancelledError):
                await may_end.wait()
        return body

    async with app.worker():
        await jobs.publish(7, then=ends)
        await has_begun.wait()
        (consumer,) = app._runtime.live().consumers.values()
        with pytest.raises(StopTimeoutError):
            await consumer.stop(0.1)
        assert (await jobs.depth()).in_flight == 1
        may_end.set()
        await asyncio.sleep(1)
        assert ((await jobs.depth()).ready, (await ends.depth()).ready) == (1, 0)
