"""Groups and chains in the block of context.transaction are refused: their records do not commit with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tasuki import App, Context
from tasuki.contracts.driver import Ack, Outgoing
from tasuki.errors import BrokerUnavailableError, HandlerError, PublishError, StaleReceiptError, StopTimeoutError
from tasuki.message import Message
from tasuki.testing import RecordingContext, TestApp
from tests.e2e.test_transactions import Site, site

pytestmark = pytest.mark.anyio
__all__ = ["site"]


async def test_a_group_in_the_block_is_refused_and_one_before_it_is_published(site: Site) -> None:
    problems: list[str] = []

    async def refused(error: type[Exception], call: Callable[[], Awaitable[Any]]) -> None:
        with pytest.raises(error) as told:
            await call()
        problems.append(str(told.value))

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> None:
        await context.group([site.after.message(1)], then=site.after, name="before")
        async with context.transaction() as tx:
            await site.add(tx, body)
            members = [site.after.message(2)]
            await refused(HandlerError, lambda: context.group(members, then=site.after))
            await refused(HandlerError, lambda: context.group(members, then=site.after, name="within"))
            await refused(HandlerError, lambda: context.publish("after", 3, then=site.after))
            await refused(PublishError, lambda: tx.publish("after", 3, then=site.after))  # type: ignore[call-arg]
            await tx.publish("after", "alone")

    async with site.worker():
        await site.jobs.publish("a")
        await site.idle()
        assert await site.effects() == ["a"]
        assert (await site.after.depth()).ready == 2
    for what, problem in zip(("a group", "a group", "a message with then or on_error"), problems, strict=False):
        assert problem.startswith(f"context.transaction() is open, and the record of {what} is in a store")
    assert problems[3] == "then and on_error cannot be part of a transaction: publish without connection"


async def test_a_group_in_the_block_of_a_plain_handler_is_refused(site: Site) -> None:
    problems: list[str] = []

    @site.jobs.consumer
    def handle(body: str, context: Context) -> None:
        with context.sync.transaction():
            for call in (
                lambda: context.sync.group([site.after.message(1)], then="after"),
                lambda: context.sync.publish("after", 1, then="after"),
            ):
                with pytest.raises(HandlerError) as told:
                    call()
                problems.append(str(told.value))

    if site.is_postgres:
        pytest.importorskip("psycopg")
    async with site.worker():
        await site.jobs.publish("a")
        await site.idle()
        assert (await site.after.depth()).ready == 0
    assert [problem.partition(",")[0] for problem in problems] == ["context.transaction() is open"] * 2


async def test_what_follows_a_committed_message_comes_once_the_store_is_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 0
    ended: list[str] = []

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> str:
        async with context.transaction() as tx:
            await site.add(tx, body)
            state = site.app._runtime.live().state_of("app:jobs")
            assert state is not None
            store = await state.store()
            put = store.put

            async def fail_thrice(key: str, *args: Any, **named: Any) -> int:
                nonlocal failures
                if key.startswith("group/") and failures < 3:
                    failures += 1
                    raise BrokerUnavailableError("gone")
                return await put(key, *args, **named)

            monkeypatch.setattr(store, "put", fail_thrice)
        return body.upper()

    @site.after.consumer
    async def follow(body: str) -> None:
        ended.append(body)

    async def has_ended() -> bool:
        return bool(ended)

    async with site.worker():
        await site.jobs.publish("a", then=site.after)
        await site.until(has_ended)
        assert await site.effects() == ["a"]
    assert (ended, failures) == (["A"], 3)


async def test_tests_of_handlers_refuse_it_too() -> None:
    app = App("memory://")
    jobs, ends = app.queue("jobs"), app.queue("ends")

    @jobs.consumer
    async def handle(body: str, context: Context) -> None:
        async with context.transaction():
            await context.group([jobs.message(1)], then=ends)

    context = RecordingContext(Message("1", b"", {}))
    with pytest.raises(HandlerError, match=r"context.transaction\(\) is open"):
        await handle("a", context)
    async with TestApp(app) as t:
        with pytest.raises(HandlerError, match=r"context.transaction\(\) is open"):
            await t.run(handle, "a")


async def test_a_worker_that_stops_after_the_commit_leaves_what_follows_to_the_next_one(site: Site) -> None:
    runs: list[str] = []
    ended: list[Any] = []
    committed = asyncio.Event()

    @site.jobs.consumer(handler_timeout="1h", lifecycle={"stop_timeout": "100ms"})
    async def handle(body: str, context: Context) -> str:
        runs.append(body)
        async with context.transaction() as tx:
            await site.add(tx, body)
            tx.remember(body.upper())
        committed.set()
        await asyncio.Event().wait()
        return "never"

    @site.after.consumer
    async def follow(body: Any) -> None:
        ended.append(body)

    async def first_life() -> None:
        async with site.worker():
            await site.app.group([site.jobs.message("a")], then=site.after)
            await committed.wait()
            assert (await site.jobs.depth()).in_flight == 1

    with pytest.raises(StopTimeoutError):
        await first_life()
    assert ended == []
    async with site.app.worker():
        await site.until(lambda: _is(ended))
        await site.idle()
        assert (await site.effects(), runs) == (["a"], ["a", "a"])
        assert (await site.dead.depth()).ready == 0
    assert ended == [["A"]]


async def test_the_members_of_a_batch_that_are_done_are_not_done_again(site: Site) -> None:
    seen: list[list[str]] = []
    ids: list[str] = []
    ended: list[Any] = []
    committed = asyncio.Event()

    @site.jobs.consumer(batch={"size": 3, "wait": "2s"}, lifecycle={"stop_timeout": "100ms"})
    async def handle(bodies: list[str], context: Context) -> None:
        seen.append(sorted(bodies))
        async with context.transaction() as tx:
            for body, each in zip(bodies, context.batch, strict=True):
                if len(seen) == 1 and body == "b":
                    each.nack("10ms")
                else:
                    await site.add(tx, body)
        if len(seen) == 1:
            committed.set()
            await asyncio.Event().wait()

    @site.after.consumer
    async def follow(body: Any) -> None:
        ended.append(body)

    async def first_life() -> None:
        async with site.worker():
            ids.extend((await site.app.group([site.jobs.message(body) for body in "abc"], then=site.after)).members)
            await committed.wait()
            assert await site.effects() == ["a", "c"]

    with pytest.raises(StopTimeoutError):
        await first_life()
    async with site.app.worker():
        await site.until(lambda: _is(ended))
        await site.idle()
        assert await site.effects() == ["a", "b", "c"]
        assert [await site.app.jobs.get(id, queue=site.jobs).result() for id in ids] == [None] * 3
    assert ended == [[None, None, None]]
    assert seen[0] == ["a", "b", "c"]


async def test_a_group_that_is_begun_again_after_its_end_does_its_work_again(site: Site) -> None:
    ended: list[Any] = []

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> str:
        async with context.transaction() as tx:
            await site.add(tx, body)
        return body

    @site.after.consumer
    async def follow(body: Any) -> None:
        ended.append(body)

    async with site.worker():
        for body in ("first", "second"):
            await site.app.group([site.jobs.message(body)], then=site.after, id="nightly")
            await site.idle()
        assert await site.effects() == ["first", "second"]


async def _is(found: list[Any]) -> bool:
    return bool(found)


async def test_the_job_of_a_member_that_is_cut_off_after_its_commit_waits(site: Site) -> None:
    committed = asyncio.Event()
    ids: list[str] = []

    @site.jobs.consumer(lifecycle={"stop_timeout": "100ms"})
    async def handle(body: str, context: Context) -> str:
        async with context.transaction() as tx:
            await site.add(tx, body)
            tx.remember("done")
        committed.set()
        await asyncio.Event().wait()
        return "never"

    async def first_life() -> None:
        async with site.worker():
            ids.append((await site.jobs.publish("a", then=site.after)).id)
            await committed.wait()

    with pytest.raises(StopTimeoutError):
        await first_life()
    async with site.app:
        assert await site.app.jobs.get(ids[0], queue=site.jobs).status() == "waiting"
    async with site.app.worker():
        assert await site.app.jobs.get(ids[0], queue=site.jobs).result() == "done"
        await site.idle()
        assert (await site.effects(), (await site.after.depth()).ready) == (["a"], 1)


async def test_a_member_that_was_lost_commits_nothing(site: Site) -> None:
    lost: list[bool] = []

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> None:
        live = site.app._runtime.queue("jobs")
        await live.driver.settle(live.spec.name, [Ack(context.message.receipt)])  # type: ignore[union-attr]
        try:
            async with context.transaction() as tx:
                await site.add(tx, body)
        except StaleReceiptError:
            lost.append(context.delivery.lease_lost)
            raise

    async with site.worker():
        await site.jobs.publish("a", then=site.after)
        await site.until(lambda: _is(lost))
        await site.idle()
        assert (await site.effects(), lost) == ([], [True])


async def test_two_members_of_one_id_both_do_their_work(site: Site) -> None:
    ended: list[Any] = []

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> str:
        async with context.transaction() as tx:
            await site.add(tx, body)
        return body

    @site.after.consumer
    async def follow(body: Any) -> None:
        ended.append(body)

    async with site.worker():
        await site.app.group([site.jobs.message("a", id="one"), site.jobs.message("b", id="one")], then=site.after)
        await site.until(lambda: _is(ended))
        await site.idle()
        assert await site.effects() == ["a", "b"]
    assert ended == [["a", "b"]]


async def test_a_member_that_is_stored_twice_in_one_batch_is_not_ended_before_its_work(site: Site) -> None:
    """As after a publish whose answer was lost."""
    ended: list[Any] = []
    begun: list[list[str]] = []

    @site.jobs.consumer(batch={"size": 2, "wait": "2s"})
    async def handle(bodies: list[str], context: Context) -> list[str]:
        begun.append(bodies)
        async with context.transaction() as tx:
            for body in bodies:
                await site.add(tx, body)
        return [body.upper() for body in bodies]

    @site.after.consumer
    async def follow(body: Any) -> None:
        ended.append((body, await site.effects()))

    async with site.app:
        await site.prepare()
        await site.app.group([site.jobs.message("a")], then=site.after)
        live = site.app._runtime.queue("jobs")
        (first,) = await live.driver.peek(live.spec.name, 1)
        await live.driver.publish(live.spec.name, [Outgoing(first.id, first.body, first.headers)])
    async with site.app.worker():
        await site.until(lambda: _is(ended))
        await site.idle()
    assert begun[0] == ["a", "a"]
    assert ended == [(["A"], ["a", "a"])]


async def test_the_work_of_one_message_of_a_batch_is_not_done_again(site: Site) -> None:
    ended: list[Any] = []
    seen: list[list[str]] = []
    committed = asyncio.Event()

    @site.jobs.consumer(batch={"size": 2, "wait": "2s"}, lifecycle={"stop_timeout": "100ms"})
    async def handle(bodies: list[str], context: Context) -> list[str]:
        seen.append(bodies)
        for body, each in zip(bodies, context.batch, strict=True):
            async with each.transaction() as tx:
                await site.add(tx, body)
                tx.remember(body)
            if len(seen) == 1:
                committed.set()
                await asyncio.Event().wait()
        return bodies

    @site.after.consumer
    async def follow(body: Any) -> None:
        ended.append(body)

    async def first_life() -> None:
        async with site.worker():
            await site.app.group([site.jobs.message(body) for body in "ab"], then=site.after)
            await committed.wait()

    with pytest.raises(StopTimeoutError):
        await first_life()
    async with site.app.worker():
        await site.until(lambda: _is(ended))
        await site.idle()
        assert await site.effects() == ["a", "b"]
        assert (await site.dead.depth()).ready == 0
    assert ended == [["a", "b"]]
    assert [sorted(bodies) for bodies in seen] == [["a", "b"], ["a", "b"], ["b"]]
