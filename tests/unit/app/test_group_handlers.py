"""Groups and chains that handlers publish: async and plain, of batches, with the rights of their actor."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tasuki import App, Context, QueueHandle
from tasuki.errors import BrokerUnavailableError, HandlerError, PublishError, UnsupportedError
from tasuki.flow.steps import MessageSteps
from tests.unit.app.test_groups import until

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


class Site:
    """A queue whose handler publishes, one for the members, and one for what follows."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.jobs: QueueHandle[Any] = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 3})
        self.parts: QueueHandle[Any] = app.queue("parts", dead_letter={"queue": "dead", "max_attempts": 1})
        self.ends: QueueHandle[Any] = app.queue("ends")
        self.dead: QueueHandle[Any] = app.queue("dead")
        self.done: list[Any] = []
        self.ended: list[tuple[str, Any]] = []

        @self.parts.consumer(concurrency=4)
        async def work(body: Any, context: Context) -> Any:
            assert context.message
            self.done.append(body)
            if body == "bad":
                raise ValueError("boom")
            return body

        @self.ends.consumer
        async def end(body: Any, context: Context) -> None:
            assert context.message
            self.ended.append((context.message.id, body))

    def members(self, count: int = 3) -> list[Any]:
        return [self.parts.message(number) for number in range(count)]


@pytest.fixture
def site(make_app: Callable[..., App]) -> Site:
    return Site(make_app())


async def test_a_handler_publishes_a_group(site: Site) -> None:
    @site.jobs.consumer
    async def split(body: int, context: Context) -> None:
        started = await context.group(site.members(body), then=site.ends, id="g")
        site.done.append(started.members)

    async with site.app.worker():
        await site.jobs.publish(3)
        await until(lambda: bool(site.ended))
    assert site.ended == [("group:g", [0, 1, 2])]
    assert ["g:0", "g:1", "g:2"] in site.done


async def test_a_handler_publishes_a_chain(site: Site) -> None:
    ids = []

    @site.jobs.consumer
    async def first(body: Any, context: Context) -> None:
        ids.append(await context.publish("parts", body, then="ends", on_error=site.ends.message("failed")))
        await context.publish("parts", "plain", then=None)

    async with site.app.worker():
        await site.jobs.publish("good")
        await until(lambda: bool(site.ended))
        await site.jobs.publish("bad")
        await until(lambda: len(site.ended) == 2)
        await asyncio.sleep(60)
    assert site.ended == [(f"group:{ids[0]}", "good"), (f"group:{ids[1]}:error", "failed")]


async def test_messages_that_are_named_by_their_queue(site: Site) -> None:
    @site.jobs.consumer
    async def split(body: Any, context: Context) -> None:
        last = context.queues.message_to("parts", "then", then="ends", delay="1s")
        await context.group([context.queues.message_to("app:parts", 1, {"h": 1}, id="mine")], then=last)

    async with site.app.worker():
        await site.jobs.publish(1)
        await until(lambda: bool(site.ended))
    assert (site.done, [body for _, body in site.ended]) == ([1, "then"], ["then"])


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # threads need real time
async def test_a_plain_handler_publishes_groups_and_chains(site: Site) -> None:
    problems: list[str] = []

    @site.jobs.consumer
    def split(body: int, context: Context) -> None:
        context.sync.group(site.members(body), then=site.ends, name="fan-out")
        context.sync.publish("parts", "one", then="ends")
        context.sync.publish("parts", "alone")
        with pytest.raises(HandlerError) as told:
            context.group(site.members(), then=site.ends).close()
        problems.append(told.value.message)

    async with site.app.worker():
        job = await site.jobs.publish(2)
        await until(lambda: len(site.ended) == 2 and "alone" in site.done and bool(problems))
    assert (f"group:app:jobs/{job.id}/fan-out", [0, 1]) in site.ended
    assert "one" in [body for _, body in site.ended]
    assert problems == ["context.group is for async functions: write 'context.sync.group(…)' here"]


async def test_the_sync_forms_are_refused_on_a_loop(site: Site) -> None:
    problems: list[str] = []

    @site.jobs.consumer
    async def split(body: int, context: Context) -> None:
        for call in (lambda: context.sync.group([], then="ends"), lambda: context.sync.publish("ends", 1)):
            with pytest.raises(HandlerError) as told:
                call()
            problems.append(told.value.message)

    async with site.app.worker():
        await site.jobs.publish(2)
        await until(lambda: len(problems) == 2)
    assert "write 'await context.group(…)'" in problems[0]
    assert "write 'await context.publish('ends', …)'" in problems[1]


@pytest.mark.parametrize(("name", "groups"), [("fan-out", 1), (None, 3)])
async def test_a_retry_does_not_publish_a_group_with_a_name_again(site: Site, name: str | None, groups: int) -> None:
    started = []

    @site.jobs.consumer(retry={"initial_delay": "5s"})
    async def split(body: int, context: Context) -> None:
        started.append(await context.group(site.members(), then=site.ends, name=name))
        if context.attempt < 3:
            raise ValueError("boom")

    async with site.app.worker():
        await site.jobs.publish(1)
        await until(lambda: len(started) == 3)
        await asyncio.sleep(60)
    assert len({each.id for each in started}) == groups
    assert all(each.members == [f"{each.id}:{number}" for number in range(3)] for each in started)
    assert Counter(site.done) == dict.fromkeys(range(3), groups)
    assert len(site.ended) == groups


async def test_a_crash_before_the_record_publishes_the_same_group_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows comes once all the same: it is the same group."""
    crashes = [BrokerUnavailableError("away", driver="memory")]
    end = MessageSteps.end

    async def crash(steps: MessageSteps, name: str, result: object) -> None:
        if crashes:
            await asyncio.sleep(60)  # its members are done by now
            raise crashes.pop()
        await end(steps, name, result)

    monkeypatch.setattr(MessageSteps, "end", crash)

    @site.jobs.consumer(retry={"initial_delay": "5s"})
    async def split(body: int, context: Context) -> None:
        await context.group(site.members(), then=site.ends, name="fan-out")

    async with site.app.worker():
        job = await site.jobs.publish(1)
        await until(lambda: bool(site.ended))
        await asyncio.sleep(300)
    assert site.ended == [(f"group:app:jobs/{job.id}/fan-out", [0, 1, 2])]
    assert Counter(site.done) == dict.fromkeys(range(3), 2)


async def test_two_queues_with_a_message_of_one_id_have_two_groups(site: Site) -> None:
    others: QueueHandle[Any] = site.app.queue("others")

    @site.jobs.consumer
    async def one(body: int, context: Context) -> None:
        await context.group(site.members(1), then=site.ends, name="all")

    @others.consumer
    async def two(body: int, context: Context) -> None:
        await context.group(site.members(1), then=site.ends, name="all")

    async with site.app.worker():
        await site.jobs.publish(1, id="7")
        await others.publish(1, id="7")
        await until(lambda: len(site.ended) == 2)
    assert sorted(id for id, _ in site.ended) == ["group:app:jobs/7/all", "group:app:others/7/all"]


async def test_each_message_of_a_batch_publishes_a_group(site: Site) -> None:
    problems: list[str] = []

    @site.jobs.consumer(batch={"size": 2, "wait": "1s"})
    async def split(bodies: list[int], context: Context) -> None:
        for each in context.batch:
            await each.group(site.members(1), then=site.ends, name="fan-out")
        await context.group(site.members(2), then=site.ends)
        with pytest.raises(HandlerError, match="a batch has no steps") as told:
            await context.group(site.members(1), then=site.ends, name="all")
        problems.append(told.value.message)

    async with site.app.worker():
        await site.jobs.publish_many([1, 2])
        await until(lambda: len(site.ended) == 3)
    assert (len({id for id, _ in site.ended}), len(problems)) == (3, 1)


async def test_a_called_function_publishes_for_the_message_of_its_caller(site: Site) -> None:
    @site.app.function
    async def split(body: Any, context: Context) -> None:
        await context.group(site.members(1), then=site.ends, name="fan-out" if context.message else None)

    @site.jobs.consumer
    async def call(body: int, context: Context) -> None:
        await context.call("split", body)

    async with site.app.worker():
        job = await site.jobs.publish(1)
        await until(lambda: bool(site.ended))
        await site.app.call("split", 1)
        await until(lambda: len(site.ended) == 2)
    assert site.ended[0][0] == f"group:app:jobs/{job.id}/fan-out"


async def test_refusals_in_a_handler(site: Site) -> None:
    problems: list[str] = []

    @site.jobs.consumer
    async def split(body: int, context: Context) -> None:
        for error, call in (
            (TypeError, lambda: context.group([{}], then=site.ends)),  # type: ignore[list-item]
            (TypeError, lambda: context.group(site.members(), then=5)),  # type: ignore[arg-type]
            (TypeError, lambda: context.publish("parts", 1, then=5)),  # type: ignore[arg-type]
            (PublishError, lambda: context.group(site.members())),
            (PublishError, lambda: context.group([site.parts.message(1, then=site.ends)], then=site.ends)),
            (PublishError, lambda: context.group(site.members(), then=site.ends, name="x" * 180)),
        ):
            with pytest.raises(error) as told:
                await call()
            problems.append(str(told.value))

    async with site.app.worker():
        await site.jobs.publish(1)
        await until(lambda: len(problems) == 6)
        assert not (await site.dead.depth()).ready
    assert problems[0].startswith("member 0 of the group is dict; give it as a message")
    assert problems[1] == problems[2] == "then is a queue, a task or its message (jobs.message(…)), not int"
    assert (site.done, site.ended) == ([], [])


async def test_a_name_needs_a_state_of_the_message_s_own_queue(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    problems: list[str] = []

    @site.jobs.consumer
    async def split(body: int, context: Context) -> None:
        with pytest.raises(UnsupportedError) as told:
            await context.group(site.members(), then=site.ends, name="fan-out")
        problems.append(str(told.value))
        assert context.message
        await context.group(site.members(), then=site.ends, id=f"{context.message.id}/fan-out")

    async with site.app.worker():
        consumer = next(each for id, each in site.app._runtime.live().consumers.items() if id.startswith("app:split"))
        monkeypatch.setattr(consumer, "state", None)
        await site.jobs.publish(1)
        await until(lambda: bool(site.ended))
    assert "queue 'app:jobs' has no state, which context.step needs" in problems[0]
