"""NATS is frozen, cut off, away; answers are lost; no message is. ``test_chaos`` kills it under load."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing
from tasuki.drivers.nats.failures import NO_RESPONDERS
from tasuki.drivers.nats.protocol.exchange import Exchange
from tasuki.drivers.nats.receiving import settle_state
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, DriverError
from tests.faults.nats.site import (
    PATIENCE,
    QUEUE,
    STREAM,
    Load,
    Site,
    declared,
    drained,
    messages,
    received_for_ever,
    take,
    through,
)
from tests.support.narrow import present

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


@pytest.mark.parametrize("times", [2, 1000])
async def test_messages_that_a_standing_stream_does_not_take_yet_go_out_again(site: Site, times: int) -> None:
    """A server of a cluster may not know yet where the leader of a stream is that was just made, and says 503."""
    driver = await site.driver(is_direct=True)
    await declared(driver)
    connection = await present(driver._guard.current).get()
    exchange, sent = connection.exchange, Counter[str]()

    async def untaken(requests: Sequence[tuple[str, bytes]], **options: Any) -> Exchange:
        kind = "asked" if requests[0][0].startswith("$JS.") else "published"
        sent[kind] += 1
        if kind == "asked" or sent[kind] > times:
            return await exchange(requests, **options)
        answered = Exchange([subject for subject, _ in requests])
        for index in range(len(requests)):
            answered.answer(index, NO_RESPONDERS)
        return answered

    connection.exchange = untaken  # type: ignore[method-assign]
    if times == 2:
        assert not await driver.publish(QUEUE, messages("a", "b"))
        assert sent["published"] == 3
        assert await drained(driver) == ["a", "b"]
    else:  # not forever
        with pytest.raises(BrokerUnavailableError, match="no stream takes") as caught:
            await driver.publish(QUEUE, messages("a", "b"))
        assert caught.value.outcome == "rejected"
        assert 1 < sent["published"] < 20


async def test_cut_connections_lose_nothing(site: Site) -> None:
    driver = await site.driver()
    await declared(driver, lease=2.0)
    load = Load(driver)

    async def cut() -> None:
        for _ in range(20):
            site.proxy.cut()
            await load.more(1)

    await through(load, cut)


async def test_a_frozen_server_is_noticed_within_the_deadline(site: Site) -> None:
    driver = await site.driver(is_direct=True)
    await declared(driver, lease=30.0)
    await driver.publish(QUEUE, messages("held"))
    (held,) = await take(driver, 1)
    await site.freeze()
    try:
        for verb in (
            lambda: driver.publish(QUEUE, messages("doubtful")),
            lambda: driver.settle(QUEUE, [Ack(held.receipt)]),
            lambda: driver.extend(QUEUE, [held.receipt], 30.0),
            lambda: driver.depth(QUEUE),
        ):
            began = time.monotonic()
            with pytest.raises((BrokerUnavailableError, BrokerTimeoutError)) as caught:
                await verb()
            assert time.monotonic() - began < 8.0
            assert caught.value.retryable
    finally:
        site.broker.thaw()
    # Held messages are still ours: a lease does not depend on a connection.
    assert list(await driver.settle(QUEUE, [Ack(held.receipt)])) == []
    await driver.publish(QUEUE, messages("after"))
    assert {"after"} <= set(await drained(driver)) <= {"after", "doubtful"}


async def test_a_receive_does_not_hang_on_a_frozen_server(site: Site) -> None:
    driver = await site.driver(is_direct=True)
    await declared(driver)
    await driver.receive(QUEUE, 1, 0.0)
    await site.freeze()
    try:
        began = time.monotonic()
        with pytest.raises(DriverError) as caught:
            await received_for_ever(driver)
        assert caught.value.retryable
        assert time.monotonic() - began < 10.0
        began = time.monotonic()
        await driver.close()
        assert time.monotonic() - began < 10.0
    finally:
        site.broker.thaw()
    await driver.open()
    await driver.publish(QUEUE, messages("a"))
    assert await drained(driver) == ["a"]


async def test_a_silent_connection_is_replaced_however_long_a_request_may_take(site: Site) -> None:
    """Its requests waited their whole timeout: for a connection that answers nothing that is a wait for nothing."""
    driver = await site.driver(timeout=300.0)
    await declared(driver)
    before = await present(driver._guard.current).get()
    receiving = asyncio.create_task(driver.receive(QUEUE, 1, 300.0))
    site.proxy.hush()
    async with asyncio.timeout(60.0):
        with pytest.raises(DriverError) as caught:
            await driver.publish(QUEUE, messages("doubtful"))
        assert caught.value.retryable
        with pytest.raises(DriverError):
            await receiving
        await driver.publish(QUEUE, messages("after"))
    assert await present(driver._guard.current).get() is not before
    assert "after" in await drained(driver)


async def test_an_ack_that_the_server_has_forgotten_the_delivery_of_is_done_all_the_same(site: Site) -> None:
    """A killed server may forget deliveries, and answers nothing to their acks: handled messages came again."""
    driver = await site.driver(is_direct=True)
    await declared(driver, lease=300.0)
    await driver.publish(QUEUE, messages("a", "b", "c"))
    held = await take(driver, 2)
    # As the server is after it has forgotten: its consumer begins again.
    info = await site.ask(f"CONSUMER.INFO.{STREAM}.m")
    await site.ask(f"CONSUMER.DELETE.{STREAM}.m")
    subject = info["config"]["filter_subject"]
    await site.ask(f"CONSUMER.CREATE.{STREAM}.m.{subject}", stream_name=STREAM, config=info["config"])
    async with asyncio.timeout(PATIENCE):
        assert list(await driver.settle(QUEUE, [Ack(each.receipt) for each in held])) == []
    assert await drained(driver) == ["c"]


async def test_an_ack_is_done_beside_one_that_must_be_tried_again(site: Site) -> None:
    """It was called stale when the settlement was tried again, although its message was gone."""
    driver = await site.driver(is_direct=True)
    await declared(driver, lease=300.0)
    await driver.publish(QUEUE, messages("a", "b"))
    first, second = await take(driver, 2)
    info = await site.ask(f"CONSUMER.INFO.{STREAM}.m")
    await site.ask(f"CONSUMER.DELETE.{STREAM}.m")
    subject = info["config"]["filter_subject"]
    # Its consumer knows the delivery of a, but not the delivery of b; and the ack of a is not answered.
    await site.ask(f"CONSUMER.CREATE.{STREAM}.m.{subject}", stream_name=STREAM, config=info["config"])
    other = await site.driver(is_direct=True)
    await declared(other, lease=300.0)
    assert [each.id for each in await take(other, 1)] == ["a"]
    batch = [Ack(first.receipt), Ack(second.receipt)]
    with pytest.raises(DriverError) as caught:
        await driver.settle(QUEUE, batch)
    assert caught.value.retryable
    async with asyncio.timeout(PATIENCE):
        assert list(await driver.settle(QUEUE, batch)) == []
    assert await drained(driver) == []


async def test_a_publish_while_the_server_is_away_is_not_stored_later(site: Site) -> None:
    driver = await site.driver(is_direct=True)
    await declared(driver)
    await asyncio.to_thread(site.broker.kill)
    began = time.monotonic()
    for id in ("a", "b"):
        with pytest.raises(BrokerUnavailableError):
            await driver.publish(QUEUE, messages(id))
    with pytest.raises(BrokerUnavailableError) as caught:
        await driver.publish(QUEUE, messages("c"))
    assert caught.value.outcome == "rejected"
    assert time.monotonic() - began < 6.0
    await asyncio.to_thread(site.broker.start)
    await driver.publish(QUEUE, messages("back"))
    assert await drained(driver) == ["back"]


async def test_a_lost_answer_leaves_the_outcome_unknown_and_the_id_finds_the_message_again(site: Site) -> None:
    direct = await site.driver(is_direct=True)
    driver = await site.driver(timeout=10.0)
    for each in (direct, driver):
        await declared(each, dedup_window=60.0)
    await driver.publish(QUEUE, messages("first"))
    site.proxy.delay = 0.5  # the server has the message for so long before its answer arrives
    publishing = asyncio.create_task(driver.publish(QUEUE, messages("doubtful")))
    while (await direct.depth(QUEUE)).ready < 2:
        await asyncio.sleep(0.01)
    site.proxy.cut()
    with pytest.raises(DriverError) as caught:
        await publishing
    assert (caught.value.outcome, caught.value.retryable) == ("unknown", True)
    site.proxy.delay = 0.0
    await driver.publish(QUEUE, messages("doubtful"))
    assert await drained(direct) == ["first", "doubtful"]


async def test_a_connection_that_breaks_within_a_large_batch_leaves_its_outcome_unknown(site: Site) -> None:
    """Whenever it breaks: data written before may be stored."""
    driver = await site.driver(is_direct=True)
    await declared(driver)
    connection = await present(driver._guard.current).get()
    client = connection._client
    assert client is not None
    written = client.written

    async def closed() -> None:
        await written()
        client._status = client.CLOSED  # as the client says before it tells anybody

    client.written = closed  # type: ignore[method-assign]
    batch = [Outgoing(str(number), b"x" * 2**20, {}) for number in range(3)]
    with pytest.raises(BrokerUnavailableError) as caught:
        await driver.publish(QUEUE, batch)
    client._status = client.CONNECTED  # so that it is closed at the end
    assert caught.value.outcome == "unknown"


async def test_an_ack_that_is_never_answered_is_carried_out_at_the_stream(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader that took acks, and lost its log before the others had them, says nothing to the next ones."""
    driver = await site.driver(is_direct=True)
    await declared(driver)
    await driver.publish(QUEUE, messages("acked", "nacked"))
    acked, nacked = await take(driver, 2)

    async def silent(connection: object, signs: object) -> set[str]:
        raise BrokerTimeoutError("no answer", driver="nats", queue=QUEUE, outcome="unknown")

    with monkeypatch.context() as patch:
        patch.setattr(settle_state, "confirmed", silent)
        for _ in range(2):
            assert (await driver.depth(QUEUE)).in_flight == 2
            with pytest.raises(BrokerTimeoutError):
                await driver.settle(QUEUE, [Ack(acked.receipt), Nack(nacked.receipt)])
        assert list(await driver.settle(QUEUE, [Ack(acked.receipt)])) == []
    assert list(await driver.settle(QUEUE, [Nack(nacked.receipt)])) == []
    (again,) = await take(driver, 1)
    assert (again.id, again.attempt) == ("nacked", 2)
    assert list(await driver.settle(QUEUE, [Ack(again.receipt)])) == []
    depth = await driver.depth(QUEUE)
    assert (depth.ready, depth.in_flight, depth.delayed) == (0, 0, 0)
