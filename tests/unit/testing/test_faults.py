"""TestApp: faults on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tasuki import App, Context, Reject
from tasuki.errors import BrokerUnavailableError
from tasuki.testing import NotSettled, TestApp
from tasuki.testing.clock import virtual_time
from tests.unit.testing import shop
from tests.unit.testing.shop import Mail, jobs, mails, ordered


@pytest.fixture
async def t() -> AsyncIterator[TestApp]:
    shop.smtp.sent.clear()
    shop.calls.clear()
    async with TestApp(shop.app) as twin:
        yield twin


@pytest.mark.anyio
async def test_a_killed_worker_loses_its_settlement_and_the_message_comes_back(t: TestApp) -> None:
    t.kill_worker()
    await mails.publish(Mail("ada"))
    await t.drain()
    assert (shop.smtp.sent, t.settled(mails)) == (["ada"], [])
    [waiting] = t.waiting(mails)
    assert waiting.due_in == pytest.approx(30)

    assert (await t.advance("30s")).done == 1
    assert shop.smtp.sent == ["ada", "ada"]


@pytest.mark.anyio
async def test_a_message_that_kills_every_worker_is_given_up(t: TestApp) -> None:
    t.kill_worker(mails, times=10)
    await mails.publish(Mail("ada"))
    await jobs.publish("free")
    await t.advance("1h")

    assert [(letter.queue, letter.reason) for letter in t.dead] == [("app:mails", "worker_died")]
    assert len(shop.smtp.sent) == 4  # max_attempts, and one that could not be attributed
    assert t.settled(jobs)[-1] == "ack"


@pytest.mark.anyio
async def test_failures_do_not_count_the_deaths_of_workers() -> None:
    app, seen = App("memory://"), []
    fragile = app.queue("fragile", dead_letter={"queue": "broken", "max_attempts": 9})

    @fragile.consumer
    async def handle(body: str, context: Context) -> None:
        seen.append((context.attempt, context.delivery.failures))
        if len(seen) in (3, 4):
            raise ValueError("broken")

    async with TestApp(app) as t:
        t.kill_worker(fragile, times=2)
        await fragile.publish("x")
        await t.advance("1h")
        t.errors.clear()
    assert seen == [(1, 0), (1, 0), (2, 0), (3, 1), (4, 2)]  # the first death cannot be attributed


@pytest.mark.anyio
async def test_a_worker_killed_before_its_dead_letter_is_stored(t: TestApp) -> None:
    t.kill_worker(jobs)
    await jobs.publish("reject")
    await t.drain()
    assert (t.dead, shop.calls) == ([], ["reject"])
    await t.advance("30s")
    assert ([letter.reason for letter in t.dead], shop.calls) == (["rejected"], ["reject", "reject"])


@pytest.mark.anyio
async def test_a_message_comes_twice(t: TestApp) -> None:
    one = await mails.publish(Mail("ada"))
    t.duplicate(one.id)
    assert [each.id for each in t.waiting(mails)] == [one.id, one.id]
    await t.drain()
    t.duplicate(one.id)
    await t.drain()
    assert shop.smtp.sent == ["ada"] * 3
    assert t.published(mails) == [Mail("ada")]
    with pytest.raises(ValueError, match="no message 'x' was published"):
        t.duplicate("x")


@pytest.mark.anyio
async def test_the_order_is_turned_round(t: TestApp) -> None:
    for job in "abc":
        await jobs.publish(job)
    t.reorder(jobs)
    await jobs.publish("d")
    await t.drain()
    assert shop.calls == ["c", "b", "a", "d"]
    with pytest.raises(ValueError, match="ordering: key"):
        t.reorder(ordered)


@pytest.mark.anyio
async def test_a_broker_that_is_away(t: TestApp) -> None:
    await mails.publish(Mail("ada"))
    t.broker_away("30s")
    with pytest.raises(BrokerUnavailableError, match="unavailable, as the test says"):
        await mails.publish(Mail("bob"))
    with pytest.raises(BrokerUnavailableError):
        await mails.depth()
    assert (await t.drain()).done == 0
    with pytest.raises(AssertionError, match="the broker is unavailable for 30s"):
        t.idle()

    assert (await t.advance("29s")).done == 0
    assert (await t.advance("1s")).done == 1
    assert t.published(mails) == [Mail("ada")]


@pytest.mark.anyio
async def test_a_broker_that_goes_while_a_handler_runs(t: TestApp, monkeypatch: pytest.MonkeyPatch) -> None:
    def send(to: str) -> None:
        shop.smtp.sent.append(to)
        t.broker_away("30s")

    monkeypatch.setattr(shop.smtp, "send", send)
    await jobs.publish("free")
    await ordered.publish("a")
    await mails.publish(Mail("ada"))
    with t.patch(shop.archive, "publish", ConnectionError), pytest.raises(NotSettled, match="broker is unavailable"):
        await t.drain()
    monkeypatch.undo()

    await t.advance("2m")
    assert t.settled(mails)[-1] == "ack"
    assert len(shop.smtp.sent) == 2


def test_a_full_dead_letter_queue_is_named() -> None:
    app = App("memory://")
    dead = app.queue("dead", max_length=1, overflow="reject")
    queue = app.queue("queue", dead_letter="dead")

    @queue.consumer
    async def refuse(body: str) -> None:
        raise Reject(body)

    async def fill() -> None:
        async with TestApp(app) as t:
            await dead.publish("x")
            await queue.publish("y")
            with pytest.raises(NotSettled, match="its dead-letter queue does not take it"):
                await t.drain()

    with virtual_time() as runner:
        runner.run(fill())
