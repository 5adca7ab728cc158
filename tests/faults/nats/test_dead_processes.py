"""A silent process keeps its deliveries for their leases, unless its connection to the server is gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Received
from tasuki.drivers.nats.driver import NATSDriver
from tasuki.drivers.nats.failures import NO_RESPONDERS
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.protocol.exchange import frame
from tasuki.drivers.nats.queues import setup
from tasuki.drivers.nats.queues.names import PLAIN
from tasuki.drivers.nats.receiving import deliveries
from tasuki.drivers.nats.records import receivers
from tests.faults.nats.site import PATIENCE, QUEUE, Site, declared, messages, take, until

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(180)]

SILENCE = 1.0
LEASE = 60.0


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (setup, deliveries, receivers):
        monkeypatch.setattr(module, "SILENCE", SILENCE)


async def held_by_another(site: Site, lease: float = LEASE) -> tuple[NATSDriver, NATSDriver, Received]:
    """A driver behind the proxy that holds a message, and another one that looks for it."""
    holder, judge = await site.driver(), await site.driver(is_direct=True)
    for driver in (holder, judge):
        await declared(driver, lease=lease)
    await judge.publish(QUEUE, messages("a"))
    return holder, judge, (await take(holder, 1))[0]


async def test_a_silent_process_keeps_its_message_until_its_connection_is_gone(site: Site) -> None:
    _, judge, mine = await held_by_another(site)
    assert await judge.receive(QUEUE, 1, 4 * SILENCE) == []
    site.proxy.refuse()
    (got,) = await take(judge, 1)
    assert (got.id, got.suspect, got.attempt) == (mine.id, True, 1)


async def test_other_messages_of_a_receive_do_not_wait_for_the_question(site: Site) -> None:
    _, judge, mine = await held_by_another(site)
    ask, asked, may_go_on = judge._lines.ask, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any) -> receivers.Said:
        asked.set()
        await may_go_on.wait()
        return await ask(*arguments)

    judge._lines.ask = slow  # type: ignore[assignment,method-assign]
    receiving = asyncio.create_task(judge.receive(QUEUE, 2, PATIENCE))
    await asked.wait()
    await judge.publish(QUEUE, messages("b"))
    assert [got.id for got in await receiving] == ["b"]
    site.proxy.refuse()
    may_go_on.set()
    (got,) = await take(judge, 1)
    assert (got.id, got.suspect, got.attempt) == (mine.id, True, 1)


async def test_a_suspended_process_keeps_its_message_and_settles_it(site: Site) -> None:
    holder, judge, mine = await held_by_another(site)
    site.proxy.silence()
    waiting = asyncio.create_task(judge.receive(QUEUE, 1, PATIENCE))
    await until(lambda: judge._lines._silent)
    site.proxy.serve()
    assert list(await holder.settle(QUEUE, [Ack(mine.receipt)])) == []
    await judge.publish(QUEUE, messages("b"))
    assert [got.id for got in await waiting] == ["b"]


async def test_what_came_to_a_suspended_process_is_handled_there_alone(site: Site) -> None:
    holder, judge = await site.driver(), await site.driver(is_direct=True)
    for driver in (holder, judge):
        await declared(driver, lease=LEASE)
    waiting = asyncio.create_task(take(holder, 1))
    await until(lambda: holder._receivers._reported)
    while (await site.ask(f"CONSUMER.INFO.tasuki+{QUEUE}.{PLAIN}"))["num_waiting"] < 1:
        await asyncio.sleep(0.02)
    site.proxy.silence()
    await judge.publish(QUEUE, messages("a"))  # the server sends it for the request that stands
    judging = asyncio.create_task(take(judge, 1))
    await until(lambda: judge._lines._silent)
    site.proxy.serve()
    done, _ = await asyncio.wait([waiting, judging], return_when=asyncio.FIRST_COMPLETED)
    ours = [got for task in done for got in task.result()]
    assert len(ours) == 1
    assert not (await asyncio.wait({waiting, judging} - done, timeout=4 * SILENCE))[0], "it is handled once"
    for task in (waiting, judging):
        task.cancel()


async def test_a_process_that_has_just_connected_does_not_judge(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    _, judge, _mine = await held_by_another(site)
    assert await judge.receive(QUEUE, 1, 2 * SILENCE) == []
    young = 5 * SILENCE
    monkeypatch.setattr(receivers, "SILENCE", young)
    site.proxy.refuse()
    link = judge._guard.get(QUEUE)
    (await link.get()).abort()
    assert len(await take(judge, 1)) == 1
    assert asyncio.get_running_loop().time() - (await link.get()).opened_at >= young


async def test_a_process_that_cannot_be_asked_keeps_its_message_for_the_lease(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def prove(_lines: receivers.Lines, _connection: Connection) -> None:
        """As for a user without the right to subscribe."""

    monkeypatch.setattr(receivers.Lines, "prove", prove)
    lease = 4 * SILENCE
    _, judge, _mine = await held_by_another(site, lease)
    loop = asyncio.get_running_loop()
    since = loop.time()
    site.proxy.refuse()
    assert len(await take(judge, 1)) == 1
    assert loop.time() - since > lease - SILENCE


async def test_a_living_process_that_loses_its_connection_keeps_its_message(site: Site) -> None:
    holder, judge, mine = await held_by_another(site)
    assert await judge.receive(QUEUE, 1, 2 * SILENCE) == []
    for _ in range(3):
        site.proxy.cut()
        assert await judge.receive(QUEUE, 1, 2 * SILENCE) == []
    assert list(await holder.settle(QUEUE, [Ack(mine.receipt)])) == []


async def test_a_question_while_a_connection_is_made_again_takes_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "_RETURNS", 2.0)  # as long as usual, for SILENCE is shortened here
    holder, judge, mine = await held_by_another(site)
    assert await judge.receive(QUEUE, 1, 2 * SILENCE) == []
    connection = await judge._guard.get(QUEUE).get()
    asked = judge._lines._answers
    said: list[object] = []

    async def answers(*arguments: Any) -> dict[str, bytes | str | None]:
        if not said:  # the first question comes when the connection of the other is gone
            site.proxy.refuse()
            while None in (found := await asked(*arguments)).values():
                pass  # the server has not noticed yet that the connection is gone
            site.proxy.serve()
        else:
            found = await asked(*arguments)
        said.extend(found.values())
        return found

    judge._lines._answers = answers  # type: ignore[assignment,method-assign]
    assert (await judge._lines.ask(connection, QUEUE, [1], LEASE)).held == {1}
    assert said[0] == NO_RESPONDERS
    assert list(await holder.settle(QUEUE, [Ack(mine.receipt)])) == []


async def test_a_process_that_is_suspended_twice_keeps_its_message_for_the_lease_each_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "EVERY", SILENCE / 5)
    lease = 6 * SILENCE
    holder, judge, mine = await held_by_another(site, lease)
    loop = asyncio.get_running_loop()

    async def judged_for(seconds: float) -> None:
        site.proxy.silence()
        assert await judge.receive(QUEUE, 1, seconds) == []
        await judge._queues.found(QUEUE)._tasks.wait()  # type: ignore[union-attr]
        site.proxy.serve()

    await judged_for(2 * SILENCE)
    seen_at = loop.time()
    assert judge._queues.found(QUEUE)._admission._silent_since  # type: ignore[union-attr]
    while loop.time() < seen_at + lease:
        assert not await holder.extend(QUEUE, [mine.receipt], lease)
        await asyncio.sleep(SILENCE / 5)
    await judged_for(3 * SILENCE)
    assert list(await holder.settle(QUEUE, [Ack(mine.receipt)])) == []


async def test_a_question_of_another_program_leaves_the_connection(site: Site) -> None:
    holder, judge, _mine = await held_by_another(site)
    connection, line = await judge._guard.get(QUEUE).get(), holder._lines.subject
    before = await holder._guard.get(QUEUE).get()
    for content in (b"", b"[]", b"\xff", b'{"queue": [], "held": 1}', b"[" * 100_000):
        assert (await connection.exchange([(line, content)], within=PATIENCE)).answers == [b"[]"]
    connection.send(frame(line, b"no reply is asked for"))
    assert await holder.receive(QUEUE, 1, SILENCE) == []
    assert await holder._guard.get(QUEUE).get() is before


async def test_a_process_does_not_take_the_message_that_it_holds_itself(site: Site) -> None:
    holder, _judge, mine = await held_by_another(site)
    assert await holder.receive(QUEUE, 1, 4 * SILENCE) == []
    assert list(await holder.settle(QUEUE, [Ack(mine.receipt)])) == []
