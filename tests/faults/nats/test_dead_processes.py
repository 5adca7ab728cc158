"""A silent process keeps its deliveries for their leases, unless its connection to the server is gone."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.contracts.driver import Ack, Received
from tasuki.drivers.nats.driver import NATSDriver
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues import setup
from tasuki.drivers.nats.queues.lanes import PLAIN
from tasuki.drivers.nats.receiving import held
from tasuki.drivers.nats.records import lines, receivers
from tests.faults.nats.site import PATIENCE, QUEUE, Site, declared, messages, take, until

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(180)]

SILENCE = 1.0
LEASE = 60.0


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (setup, held, lines, receivers):
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
    monkeypatch.setattr(lines, "SILENCE", young)
    site.proxy.refuse()
    link = judge._guard.get(QUEUE)
    (await link.get()).abort()
    assert len(await take(judge, 1)) == 1
    assert asyncio.get_running_loop().time() - (await link.get()).opened_at >= young


async def test_a_process_that_cannot_be_asked_keeps_its_message_for_the_lease(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def prove(_lines: lines.Lines, _connection: Connection) -> None:
        """As for a user without the right to subscribe."""

    monkeypatch.setattr(lines.Lines, "prove", prove)
    lease = 4 * SILENCE
    _, judge, _mine = await held_by_another(site, lease)
    loop = asyncio.get_running_loop()
    since = loop.time()
    site.proxy.refuse()
    assert len(await take(judge, 1)) == 1
    assert loop.time() - since > lease - SILENCE
