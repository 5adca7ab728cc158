"""Groups and chains: one message when all are done, one when the first is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tasuki import App, Context, QueueHandle, Reject
from tasuki.contracts.driver import Received, Release
from tasuki.contracts.state.store import Store
from tasuki.errors import (
    BodyTypeError,
    BrokerUnavailableError,
    CodecError,
    PolicyDeniedError,
    PublishError,
    QueueNotFoundError,
    UnsupportedError,
)
from tasuki.flow.group_records import MemberEnd
from tasuki.security.actor import Actor
from tasuki.security.guard import Guard
from tasuki.security.policy import Scope
from tests.unit.app.stores import store_of
from tests.unit.security.test_policy import policy

ALLOW = policy(actions="*", resources="app:jobs")
"""To do everything with the jobs, and nothing with other queues."""
pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


class Site:
    """Queues for jobs, for what follows, and for what follows an error."""

    def __init__(self, app: App, room: int = 2**20, **options: Any) -> None:
        self.app = app
        self.jobs: QueueHandle[Any] = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 2}, **options)
        self.other: QueueHandle[Any] = app.queue("other")
        self.ends: QueueHandle[Any] = app.queue("ends", max_message_size=room)
        self.errors: QueueHandle[Any] = app.queue("errors")
        self.dead: QueueHandle[Any] = app.queue("dead")
        self.done: list[Any] = []
        self.ended: list[tuple[str, Any]] = []
        self.failed: list[tuple[str, Any]] = []
        self.is_broken = True

        @self.jobs.consumer(retry={"initial_delay": "1s"}, concurrency=4)
        async def work(body: Any) -> Any:
            if body == "bad" and self.is_broken:
                raise ValueError("boom")
            if body == "reject":
                raise Reject("no")
            self.done.append(body)
            return "x" * body if isinstance(body, int) and body > 1000 else {"of": body}

        @self.other.consumer
        async def elsewhere(body: Any) -> Any:
            self.done.append(body)
            return body

        @self.ends.consumer
        async def end(body: Any, context: Context) -> None:
            assert context.message
            self.ended.append((context.message.id, body))

        @self.errors.consumer
        async def fail(body: Any, context: Context) -> None:
            assert context.message
            self.failed.append((context.message.id, body))

    async def store(self) -> Store:
        return await store_of(self.app)

    async def records(self) -> list[str]:
        return [entry.key for entry in (await (await self.store()).list("group/", limit=1000)).entries]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(3600):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def site(make_app: Callable[..., App]) -> Site:
    return Site(make_app())


async def test_the_results_come_in_order_and_once(site: Site) -> None:
    async with site.app.worker():
        members = [site.jobs.message(1), site.other.message("two"), site.jobs.message(3, delay="5s")]
        group = await site.app.group(members, then=site.ends, on_error=site.errors)
        assert group.members == [f"{group.id}:{number}" for number in range(3)]
        await until(lambda: bool(site.ended))
        await asyncio.sleep(60)
        assert await site.records() == []
    assert site.ended == [(f"group:{group.id}", [{"of": 1}, "two", {"of": 3}])]
    assert site.failed == []


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
async def test_groups_of_any_size(site: Site, count: int) -> None:
    async with site.app.worker():
        await site.app.group([site.jobs.message(n) for n in range(count)], then=site.ends.message("end"), id="g")
        await until(lambda: bool(site.ended))
        await asyncio.sleep(60)
        assert await site.records() == []
    assert sorted(site.done) == list(range(count))
    assert site.ended == [("group:g", "end")]


@pytest.mark.parametrize("bad", ["bad", "reject"])
async def test_a_member_that_is_given_up_is_told_once(site: Site, bad: str) -> None:
    async with site.app.worker():
        await site.app.group(
            [site.jobs.message(bad)] * 2 + [site.jobs.message(1)], then=site.ends, on_error=site.errors
        )
        await until(lambda: bool(site.failed))
        await asyncio.sleep(60)
        ((id, body),) = site.failed
        assert id == f"group:{body['group']}:error"
        assert ("boom" if bad == "bad" else "no") in body["message"]
        assert site.ended == []
        if bad == "bad":  # a redrive goes on with the group
            assert await site.app.dead.redrive(site.dead) == 2
            await asyncio.sleep(60)
            assert len(site.failed) == 1, "it has failed again"
            site.is_broken = False
            assert await site.app.dead.redrive(site.dead) == 2
            await until(lambda: bool(site.ended))
            await asyncio.sleep(60)
            assert await site.records() == []
            assert len(site.ended) == 1
    assert len(site.failed) == 1


async def test_a_message_in_the_dead_letter_queue_is_no_member(site: Site) -> None:
    @site.dead.consumer
    async def read(body: Any) -> None:
        site.done.append("dead")

    async with site.app.worker():
        await site.app.group([site.jobs.message("bad")], then=site.ends, on_error=site.errors)
        await until(lambda: "dead" in site.done)
        await asyncio.sleep(60)
    assert (len(site.failed), site.ended) == (1, [])


async def test_an_expired_and_dropped_member_is_given_up(make_app: Callable[..., App]) -> None:
    app, failed = make_app(), []
    jobs, errors = app.queue("jobs", on_expire="drop"), app.queue("errors")

    @errors.consumer
    async def fail(body: Any) -> None:
        failed.append(body["kind"])

    @jobs.consumer
    async def work(body: Any) -> None: ...

    async with app:
        await app.group([jobs.message(1, ttl="1s")], on_error=errors)
        await asyncio.sleep(2)
        for consumer in app._runtime.live().consumers.values():
            await consumer.start()
        await until(lambda: bool(failed))
        for consumer in app._runtime.live().consumers.values():
            await consumer.stop(1)
    assert failed == ["Timeout"]


async def test_a_cancelled_member_is_given_up(site: Site) -> None:
    gate = asyncio.Event()
    slow = site.app.queue("slow")

    @slow.consumer
    async def wait(body: Any) -> None:
        await gate.wait()

    async with site.app.worker():
        group = await site.app.group([slow.message(1)], then=site.ends, on_error=site.errors)
        await asyncio.sleep(1)
        assert await site.app.jobs.cancel(group.members[0], queue=slow) == "running"
        await until(lambda: bool(site.failed))
    assert site.failed[0][1]["kind"] == "Canceled"


@pytest.mark.parametrize("id", [None, "mine"])
async def test_a_member_that_is_cancelled_while_it_waits_is_given_up(site: Site, id: str | None) -> None:
    slow = site.app.queue("slow")
    async with site.app.worker():
        group = await site.app.group(
            [slow.message(1, id=id), site.jobs.message(2)], then=site.ends, on_error=site.errors
        )
        await until(lambda: bool(site.done))
        assert await site.app.jobs.cancel(group.members[0], queue=slow) == "waiting"
        await until(lambda: bool(site.failed))
        await slow.publish(3, id="chained", on_error=site.errors)
        await slow.publish(4, id="group:1")
        found = await site.app.jobs.cancel_many(["chained", "group:1", group.members[1]], queue=slow)
        assert (found.waiting, found.not_found) == (2, 1)
        await until(lambda: len(site.failed) == 2)
        await asyncio.sleep(5)
    errors = [error for _, error in site.failed]
    assert [(error["kind"], error["group"]) for error in errors] == [("Canceled", group.id), ("Canceled", "chained")]
    assert site.ended == []


async def test_a_member_with_a_worker_that_does_not_answer_is_not_given_up_by_its_cancellation(site: Site) -> None:
    slow = site.app.queue("slow")
    async with site.app.worker():
        for id in ("a", "b", "c"):
            await slow.publish(id, id=id, then=site.ends, on_error=site.errors)
        queue = site.app._runtime.queue("slow")
        (held,) = await queue.driver.receive(queue.spec.name, 1, 0)  # by a worker whose event loop is blocked
        found = await site.app.jobs.cancel_many(["a", "b", "c"], queue=slow)
        assert (held.id, found.waiting, found.not_found) == ("a", 2, 1)
        await until(lambda: len(site.failed) == 2)
        await site.app._runtime.live().end_member(held.headers["x_group"], MemberEnd("done"))
        await until(lambda: bool(site.ended))
        await asyncio.sleep(5)
    assert sorted(error["group"] for _, error in site.failed) == ["b", "c"]
    assert site.ended == [("group:a", "done")]


@pytest.mark.parametrize("ends_first", [False, True])
async def test_a_message_that_a_worker_takes_just_before_its_removal_gives_then_or_on_error(
    site: Site, monkeypatch: pytest.MonkeyPatch, ends_first: bool
) -> None:
    """Whichever end is recorded first, its worker's or the cancellation's."""
    slow = site.app.queue("slow")
    async with site.app.worker():
        for id in ("held", "a", "b", "c"):
            await slow.publish(id, id=id, then=site.ends, on_error=site.errors)
        queue, host = site.app._runtime.queue("slow"), site.app._runtime.live()
        driver, name = queue.driver, queue.spec.name
        await driver.receive(name, 1, 0)  # so that the broker is searched
        find, taken = driver.find, list[Received]()

        async def find_late(*arguments: Any) -> Any:
            found = await find(*arguments)
            if not taken:  # by a worker whose event loop is blocked
                taken.extend(await driver.receive(name, 1, 0))
                if ends_first:
                    await host.end_member(taken[0].headers["x_group"], MemberEnd("done"))
            return found

        monkeypatch.setattr(driver, "find", find_late)
        found = await site.app.jobs.cancel_many(["a", "b", "c"], queue=slow)
        assert (found.waiting, found.not_found, [item.id for item in taken]) == (2, 1, ["a"])
        await host.end_member(taken[0].headers["x_group"], MemberEnd("done"))
        await asyncio.sleep(5)
    assert site.ended == ([("group:a", "done")] if ends_first else [])
    assert sorted(error["group"] for _, error in site.failed) == (["b", "c"] if ends_first else ["a", "b", "c"])


async def test_a_message_that_a_worker_puts_back_just_before_the_removal_of_others_gives_on_error(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = site.app.queue("slow")
    async with site.app.worker():
        for id in ("a", "b"):
            await slow.publish(id, id=id, then=site.ends, on_error=site.errors)
        queue = site.app._runtime.queue("slow")
        driver, name = queue.driver, queue.spec.name
        held = await driver.receive(name, 1, 0)
        find = driver.find

        async def find_before(*arguments: Any) -> Any:
            found = await find(*arguments)
            while held:
                await driver.settle(name, [Release(held.pop().receipt)])
            return found

        monkeypatch.setattr(driver, "find", find_before)
        found = await site.app.jobs.cancel_many(["a", "b"], queue=slow)
        assert found.waiting == 2
        await until(lambda: len(site.failed) == 2)
    assert sorted(error["group"] for _, error in site.failed) == ["a", "b"]


async def test_a_cancellation_whose_on_error_cannot_be_published_is_ended_by_the_worker(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = site.app.queue("slow")
    async with site.app.worker():
        for id in ("held", "a", "b"):
            await slow.publish(id, id=id, then=site.ends, on_error=site.errors)
        queue, host = site.app._runtime.queue("slow"), site.app._runtime.live()
        driver, name = queue.driver, queue.spec.name
        await driver.receive(name, 1, 0)
        find, taken = driver.find, list[Received]()

        async def find_late(*arguments: Any) -> Any:
            found = await find(*arguments)
            taken.extend(await driver.receive(name, 1, 0))
            return found

        async def refuse(*_: Any) -> None:
            raise BrokerUnavailableError("it is unavailable", driver="driver")

        monkeypatch.setattr(driver, "find", find_late)
        with monkeypatch.context() as patch:
            patch.setattr("tasuki.app.flow.groups.publish_plan", refuse)
            with pytest.raises(BrokerUnavailableError):
                await site.app.jobs.cancel_many(["a", "b"], queue=slow)
        await host.end_member(taken[0].headers["x_group"], MemberEnd("done"))
        await until(lambda: bool(site.failed))
        await asyncio.sleep(5)
    assert [(error["kind"], error["group"]) for _, error in site.failed] == [("Canceled", "a")]
    assert site.ended == []


async def test_a_chain_gives_each_result_to_the_next(site: Site) -> None:
    async with site.app.worker():
        last = site.other.message("two", then=site.ends)
        job = await site.jobs.publish(1, then=last)
        await until(lambda: bool(site.ended))
        await site.jobs.publish(5, id="five", then=site.ends)
        await until(lambda: len(site.ended) == 2)
        await asyncio.sleep(60)
        assert await site.records() == []
    assert site.done == [1, "two", 5]
    assert site.ended == [(f"group:group:{job.id}", "two"), ("group:five", {"of": 5})]


async def test_the_error_of_a_link_of_a_chain(site: Site) -> None:
    async with site.app.worker():
        last = site.jobs.message("bad", then=site.ends, on_error=site.errors)
        await site.other.publish("first", then=last)
        await until(lambda: bool(site.failed))
        await site.jobs.publish("bad", on_error=site.errors.message("fixed"))
        await until(lambda: len(site.failed) == 2)
    assert site.ended == []
    assert site.failed[1][1] == "fixed"


async def test_the_arguments_after_the_result_are_given(make_app: Callable[..., App]) -> None:
    app = make_app()
    found: list[Any] = []
    jobs = app.queue("jobs")

    @jobs.task
    async def square(n: int) -> int:
        return n * n

    @jobs.task
    async def scaled(number: int, by: int, *, unit: str) -> None:
        found.append((number * by, unit))

    @jobs.task
    async def named(*, number: int, by: int = 1) -> None:
        found.append((number, by))

    async with app.worker():
        await square.with_options(then=scaled.filled(10, unit="m")).publish(2)
        await square.with_options(then=named.filled(by=3)).publish(3)
        await until(lambda: len(found) == 2)
        with pytest.raises(PublishError, match=r"it takes number, by, unit"):
            scaled.filled(10)
        with pytest.raises(BodyTypeError, match=r"scaled.filled\(…\) cannot take this str as parameter 'by'"):
            scaled.filled("ten", unit="m")
        with pytest.raises(BodyTypeError, match="got parameter 'number' twice"):
            scaled.filled(10, unit="m", number=1)
        with pytest.raises(BodyTypeError, match="takes 2 arguments by position, not 4"):
            scaled.filled(10, 11, 12, unit="m")
    assert sorted(found) == [(9, 3), (40, "m")]


async def test_tasks(make_app: Callable[..., App]) -> None:
    app = make_app()
    found: list[Any] = []
    jobs = app.queue("jobs")

    @jobs.task
    async def square(n: int) -> int:
        return n * n

    @jobs.task
    async def total(numbers: list[int], unit: str = "m") -> int:
        found.append((sum(numbers), unit))
        return sum(numbers)

    @jobs.task
    async def two(a: int, b: int) -> None: ...

    @jobs.task
    async def show(value: int) -> None:
        found.append(value)

    async with app.worker():
        await app.group([square.message(n) for n in range(4)], then=total)
        await square.with_options(then=show).publish(5)
        await square.publish(1)
        await until(lambda: len(found) == 2)
        with pytest.raises(PublishError, match=r"takes a, b: write then=two.message\(…\), or two.filled\(…\)"):
            await app.group([square.message(1)], then=two)
    assert sorted(found, key=str) == [(14, "m"), 25]


async def test_results_of_many_kilobytes_are_given_in_order(site: Site) -> None:
    """More than fits in the record of a shard: 800 KB, each result beside the record."""
    sizes = [40_000 + number for number in range(20)]
    async with site.app.worker():
        await site.app.group([site.jobs.message(size) for size in sizes], then=site.ends, on_error=site.errors)
        await until(lambda: bool(site.ended))
        await asyncio.sleep(60)
        assert await site.records() == []
    assert [len(result) for result in site.ended[0][1]] == sizes
    assert not site.failed


async def test_a_result_that_is_too_large_is_told_before_the_other_members_end(site: Site) -> None:
    async with site.app.worker():
        members = [site.jobs.message(70_000), site.jobs.message(1, delay="1h")]
        await site.app.group(members, then=site.ends, on_error=site.errors)
        await until(lambda: bool(site.failed))
        assert site.done == [70_000], "the other member is not due yet"
        assert "the result of member 0 has 70005 bytes, and may have 65536: " in site.failed[0][1]["message"]
        await until(lambda: len(site.done) == 2)
        await asyncio.sleep(60)
        assert await site.records() == []
    assert not site.ended
    assert len(site.failed) == 1


async def test_results_that_the_next_queue_does_not_take_are_an_error(
    make_app: Callable[..., App], caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(make_app(), room=50_000)
    async with site.app.worker():
        await site.app.group([site.jobs.message(30_000 + n) for n in range(2)], then=site.ends, on_error=site.errors)
        await until(lambda: bool(site.failed))
        await asyncio.sleep(60)
        assert await site.records() == []
        with pytest.raises(PublishError, match=r"takes messages of 50000 bytes, and the 50001 results of this group"):
            await site.app.group([site.jobs.message(1)] * 50_001, then=site.ends)
        assert len(site.done) == 2, "nothing was published"
    assert "max_message_size" in site.failed[0][1]["message"]
    assert "its next message cannot be published" in caplog.text


async def test_a_group_is_started_again_under_its_id(site: Site) -> None:
    async with site.app:
        for _ in range(2):
            await site.app.group([site.jobs.message(n) for n in range(3)], then=site.ends, id="g")
        async with site.app.worker():
            await until(lambda: len(site.done) == 6)
            await asyncio.sleep(60)
    assert [id for id, _ in site.ended] == ["group:g"]


async def test_members_that_have_ended_count_when_a_group_is_started_again(make_app: Callable[..., App]) -> None:
    """As by a publisher that was killed after a part of the members."""
    site = Site(make_app(), dedup_window="1h")
    members = [site.jobs.message(1), site.jobs.message(2), site.jobs.message(3, delay="60s")]
    async with site.app.worker():
        for _ in range(2):
            await site.app.group(members, then=site.ends, id="g")
            await asyncio.sleep(10)
            assert site.done == [1, 2]
        await asyncio.sleep(60)
    assert site.done == [1, 2, 3]
    assert [id for id, _ in site.ended] == ["group:g"]


async def test_refusals(site: Site, make_app: Callable[..., App]) -> None:
    app, job = site.app, site.jobs.message(1)
    ruled = app.queue("ruled", unique={"key": "body.id"})
    async with app:
        for members, options, problem in (
            ([job], {}, "a group needs then or on_error"),
            ([site.jobs.message(1, then=site.ends)], {"then": site.ends}, "has its own then or on_error"),
            ([site.jobs.message(1, unique="x")], {"then": site.ends}, "member 0 of the group is unique"),
            ([ruled.message({"id": "1"})], {"then": site.ends}, "has a rule 'unique'"),
            ([job], {"then": site.ends.message(object())}, "a body cannot carry a object"),
            ([job], {"then": site.ends, "id": "x" * 200}, "180 characters of id at most"),
        ):
            with pytest.raises((PublishError, CodecError), match=problem):
                await app.group(members, **options)
        with pytest.raises(
            TypeError, match=r"member 0 of the group is dict; give it as a message: jobs.message\(body\)"
        ):
            await app.group([{}], then=site.ends)  # type: ignore[list-item]
        with pytest.raises(TypeError, match="then is a queue, a task or its message"):
            await app.group([job], then=print)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="no option 'publish_timeout'"):
            site.jobs.message(1, publish_timeout=1)
        with pytest.raises(PublishError, match="is unique, so it may not be stored"):
            await site.jobs.publish(1, unique="x", then=site.ends)
        with pytest.raises(PublishError, match="cannot be part of a transaction"):
            await site.jobs.publish(1, connection=object(), then=site.ends)
        assert await site.records() == []
        assert not (await site.jobs.depth()).ready


async def test_without_state(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site.app:
        monkeypatch.setattr("tasuki.app.host.ProjectHost.state_of", lambda *_: None)
        with pytest.raises(UnsupportedError, match="has no state, which a message that follows others needs"):
            await site.jobs.publish(1, then=site.ends)


async def test_who_may_not_publish_what_follows_starts_nothing(site: Site) -> None:
    async with site.app:
        site.app._runtime.live().rights.application = Guard(Actor("me"), Scope([ALLOW]))
        with pytest.raises(PolicyDeniedError):
            await site.app.group([site.jobs.message(1)], then=site.ends)
        with pytest.raises(PolicyDeniedError):
            await site.jobs.publish(1, on_error=site.errors.message(1))
        assert await site.records() == []
        assert not (await site.jobs.depth()).ready


async def test_a_worker_that_lacks_the_queue_of_the_record_says_so(site: Site) -> None:
    async with site.app:
        host = site.app._runtime.live()
        with pytest.raises(QueueNotFoundError, match="queue 'other:ends' is not defined"):
            await host.end_member("other:ends 0 g", MemberEnd())
        await host.end_member("not ours", MemberEnd())
        await host.end_member("app:ends 0 over", MemberEnd())
