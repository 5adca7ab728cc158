"""Temporary queues at NATS: they stay while their process lives, and go after its death."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Collection, Sized
from contextlib import suppress

import pytest

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec
from tasuki.drivers.nats.driver import NATSDriver
from tasuki.drivers.nats.protocol.api import ask
from tasuki.drivers.nats.records import receivers, temporary
from tasuki.errors import BrokerUnavailableError, QueueNotFoundError
from tests.faults.nats.site import PATIENCE, Site, a_site
from tests.support.asker import QUEUE, asker

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

KEPT = 5.0
OURS = QueueSpec("reply.2", temporary=True)
CONSTANTS = {f"{temporary.__name__}.KEPT": KEPT, f"{receivers.__name__}.EVERY": 0.2}


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """With a shorter time for all drivers of this process."""
    monkeypatch.setattr(temporary, "KEPT", KEPT)
    monkeypatch.setattr(receivers, "EVERY", 0.2)
    async with a_site() as made:
        yield made


async def opened(site: Site, *specs: QueueSpec) -> NATSDriver:
    driver = await site.driver(is_direct=True)
    for spec in specs:
        await driver.declare(spec)
    return driver


async def streams(driver: NATSDriver) -> set[str]:
    link = driver._guard.current
    assert link is not None
    (answer,) = await ask(await link.get(), "", [("STREAM.NAMES", {})])
    return set(answer["streams"] or ())


async def noted(driver: NATSDriver) -> Collection[str]:
    """The subjects of the book, but for the one that stays: the record of the layout."""
    link = driver._guard.current
    assert link is not None
    (info,) = await ask(await link.get(), "", [("STREAM.INFO.tasuki+=book", {"subjects_filter": ">"})])
    return (info["state"].get("subjects") or {}).keys() - {"tasuki.b.v"}


async def until_gone(driver: NATSDriver, stream: str) -> None:
    async with asyncio.timeout(PATIENCE * 2):
        while stream in await streams(driver) or any(".reply~1" in subject for subject in await noted(driver)):
            await asyncio.sleep(0.1)


async def test_a_killed_asker_leaves_no_queue(site: Site) -> None:
    answerer = await opened(site, QueueSpec("q"))
    living = await opened(site, OURS)
    fields = {"servers": site.broker.url}
    with asker(NATSDriver, fields, CONSTANTS) as process:
        assert await asyncio.to_thread(process.line) == "there"
        await answerer.inspect(QUEUE)
        await answerer.publish(QUEUE.name, [Outgoing("r", b"reply", {})])
        assert await asyncio.to_thread(process.line) == "reply"
        await answerer.publish(QUEUE.name, [Outgoing("later", b"late", {}, delay=1000.0)])
        await answerer.publish("q", [Outgoing("stays", b"", {})])
        process.kill()
    await until_gone(answerer, "tasuki+reply~1")
    assert await streams(answerer) == {"tasuki+=book", "tasuki+q", "tasuki+reply~2"}
    await living.publish(OURS.name, [Outgoing("r", b"", {})])
    (got,) = await living.receive(OURS.name, 1, PATIENCE)
    await living.settle(OURS.name, [Ack(got.receipt)])
    assert [got.id for got in await answerer.receive("q", 1, PATIENCE)] == ["stays"]


async def test_no_number_of_living_queues_hides_a_forgotten_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thousand by name were looked at, and no other was ever removed."""
    monkeypatch.setattr(temporary, "_MOST", 10)
    driver = await opened(site, QUEUE)
    await driver.undeclare(QUEUE.name)
    await driver._receivers.stop()
    assert driver._guard.current is not None
    connection = await driver._guard.current.get()
    living = [f"reply.0{number}" for number in range(50)]
    await driver._temporary.keep(connection, living)
    async with asyncio.timeout(PATIENCE):
        while "tasuki+reply~1" in await streams(driver):
            await asyncio.sleep(KEPT / temporary.ROUNDS)
            await driver._temporary.keep(connection, living)
            await driver._temporary.beat(connection, [])
    assert {queue.replace(".", "~") for queue in living} <= {subject.split(".")[-1] for subject in await noted(driver)}


async def test_a_deletion_that_fails_keeps_the_notes_of_temporary_queues(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = await opened(site, OURS)
    renewing = driver._receivers._task
    assert renewing is not None

    async def refuse(*_: object) -> None:
        with suppress(TimeoutError):  # a silent server takes longer than the pause between two reports
            async with asyncio.timeout(1.0):
                await asyncio.wait([renewing])
        raise BrokerUnavailableError("no answer", outcome="unknown")

    with monkeypatch.context() as patched:
        patched.setattr(temporary.Temporary, "forget", refuse)  # the last step
        with pytest.raises(BrokerUnavailableError):
            await driver.delete(OURS.name)
    driver._temporary._kept_at = -math.inf
    async with asyncio.timeout(PATIENCE):
        while driver._temporary._kept_at == -math.inf:
            await asyncio.sleep(0.05)


async def test_a_responder_keeps_nothing_of_requesters_that_are_gone(site: Site) -> None:
    """State flat over many requesters: at the server, and in the process that answers."""
    requester, responder = await opened(site), await opened(site)

    def known() -> list[int]:
        queues = responder._queues
        kept: tuple[Sized, ...] = (
            responder._known.all(),
            queues._open,
            queues._left,
            queues._by_stream,
            queues._locks,
        )
        return [*map(len, kept), len(asyncio.all_tasks())]

    before = known()
    for number in range(200):
        spec = QueueSpec(f"reply.{number}", temporary=True)
        await requester.declare(spec)
        assert (await responder.inspect(spec)).temporary
        await responder.publish(spec.name, [Outgoing("r", b"", {})])
        await requester.delete(spec.name)
        with pytest.raises(QueueNotFoundError):
            await responder.publish(spec.name, [Outgoing("late", b"", {})])
        with pytest.raises(QueueNotFoundError):
            await responder.publish(spec.name, [Outgoing("later", b"", {})])
        await responder.undeclare(spec.name)
    await requester._receivers.stop()
    assert known() == before
    assert not await noted(responder)
    assert await streams(responder) == {"tasuki+=book"}


async def test_one_that_is_declared_for_good_stays(site: Site) -> None:
    driver = await opened(site, QUEUE, OURS, QueueSpec("q"))
    await driver.declare(QueueSpec(OURS.name))
    await driver.publish(OURS.name, [Outgoing("stays", b"", {})])
    await driver.undeclare(QUEUE.name)
    await driver.receive("q", 1, 0.0)  # only a process that receives removes anything
    await until_gone(driver, "tasuki+reply~1")
    async with asyncio.timeout(PATIENCE):
        while any(".b.t." in subject for subject in await noted(driver)):
            await asyncio.sleep(0.1)
    assert [got.id for got in await driver.receive(OURS.name, 1, PATIENCE)] == ["stays"]


async def test_one_that_is_deleted_leaves_no_note(site: Site) -> None:
    driver = await opened(site, QUEUE)
    await driver.delete(QUEUE.name)
    assert not await noted(driver)
    assert await streams(driver) == {"tasuki+=book"}


async def test_an_outage_is_no_reason_to_sweep(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note that is old at one check and new at the next one belongs to a living process."""
    driver = await opened(site, QUEUE, OURS)
    await driver._receivers.stop()
    monkeypatch.setattr(temporary, "KEPT", 0.0)  # every note is old, whenever it is checked
    assert driver._guard.current is not None
    connection = await driver._guard.current.get()
    await driver._temporary.beat(connection, [])
    assert len(driver._temporary._suspects) == 2
    await driver._temporary.keep(connection, [OURS.name])
    await driver._temporary.beat(connection, [])
    assert await streams(driver) == {"tasuki+=book", "tasuki+reply~2"}
