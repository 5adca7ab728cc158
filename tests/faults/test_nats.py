"""NATS at its worst: killed under load, frozen, cut off, its streams and consumers removed underneath."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Release
from tasuki.drivers.nats.driver import NATSDriver
from tasuki.drivers.nats.failures import NO_RESPONDERS
from tasuki.drivers.nats.protocol.exchange import Exchange
from tasuki.drivers.nats.receiving import holding
from tasuki.drivers.nats.records import consumer_count as attendance
from tasuki.errors import (
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    QueueFullError,
    QueueNotFoundError,
)
from tests.faults.nats_site import PATIENCE, QUEUE, Load, Site, a_site, declared, drained, messages, take, through

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

STREAM = f"tasuki+{QUEUE}"
BOOK = "tasuki+=book"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with a_site() as made:
        yield made


async def received_for_ever(driver: NATSDriver) -> None:
    """Until an error ends it."""
    while True:
        await driver.receive(QUEUE, 1, 0.3)


async def test_kills_of_the_server_under_load_lose_nothing(site: Site) -> None:
    driver = await site.driver(is_direct=True)
    await declared(driver, lease=2.0)
    load = Load(driver)

    async def kill() -> None:
        for _ in range(3):
            await load.more(100)
            await asyncio.to_thread(site.broker.restart)

    await through(load, kill)


@pytest.mark.parametrize("times", [2, 1000])
async def test_messages_that_a_standing_stream_does_not_take_yet_go_out_again(site: Site, times: int) -> None:
    """A server of a cluster may not know yet where the leader of a stream is that was just made, and says 503."""
    driver = await site.driver(is_direct=True)
    await declared(driver)
    connection = await driver._session._guard.current.get()  # type: ignore[union-attr]
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
    else:  # not for ever
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
    before = await driver._session._guard.current.get()
    receiving = asyncio.create_task(driver.receive(QUEUE, 1, 300.0))
    site.proxy.hush()
    async with asyncio.timeout(60.0):
        with pytest.raises(DriverError) as caught:
            await driver.publish(QUEUE, messages("doubtful"))
        assert caught.value.retryable
        with pytest.raises(DriverError):
            await receiving
        await driver.publish(QUEUE, messages("after"))
    assert await driver._session._guard.current.get() is not before
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


async def test_a_stream_removed_underneath_is_said_once_and_made_again(site: Site) -> None:
    driver = await site.driver()
    await declared(driver)
    await driver.publish(QUEUE, messages("lost"))
    await site.ask(f"STREAM.DELETE.{STREAM}")
    with pytest.raises(QueueNotFoundError) as caught:
        await driver.publish(QUEUE, messages("rejected"))
    assert caught.value.outcome == "rejected"
    await driver.publish(QUEUE, messages("new"))
    assert await drained(driver) == ["new"]
    await site.ask(f"STREAM.DELETE.{STREAM}")
    with pytest.raises(QueueNotFoundError):
        await received_for_ever(driver)
    await driver.publish(QUEUE, messages("newer"))
    assert await drained(driver) == ["newer"]


async def test_a_receipt_of_a_removed_stream_does_not_settle_a_message_of_the_new_one(site: Site) -> None:
    driver = await site.driver()
    await declared(driver)
    await driver.publish(QUEUE, messages("old"))
    (old,) = await take(driver, 1)
    await site.ask(f"STREAM.DELETE.{STREAM}")
    with pytest.raises(QueueNotFoundError):
        await driver.publish(QUEUE, messages("rejected"))
    await driver.publish(QUEUE, messages("new"))
    assert list(await driver.settle(QUEUE, [Ack(old.receipt)])) == [old.receipt]
    assert await drained(driver) == ["new"]


async def test_a_consumer_removed_underneath_is_made_again_and_nothing_is_lost(site: Site) -> None:
    driver = await site.driver()
    await declared(driver)
    await driver.publish(QUEUE, messages("a", "b", "c"))
    (held,) = await take(driver, 1)
    await site.ask(f"CONSUMER.DELETE.{STREAM}.m")
    assert list(await driver.settle(QUEUE, [Ack(held.receipt)])) == []
    assert await drained(driver) == ["b", "c"]


async def test_a_waiting_receive_survives_the_removal_of_its_consumer(site: Site) -> None:
    driver = await site.driver()
    await declared(driver)
    waiting = asyncio.create_task(take(driver, 1))
    await site.ask(f"CONSUMER.DELETE.{STREAM}.m")
    await driver.publish(QUEUE, messages("a"))
    assert [each.id for each in await waiting] == ["a"]


async def test_receives_one_after_the_other_end_with_a_delete(site: Site) -> None:
    """Receives during the deletion returned nothing at once, repeatedly, and let nothing else run."""
    driver = await site.driver()
    await declared(driver)

    async def receive_on() -> None:
        for _ in range(1000):
            await driver.receive(QUEUE, 1, PATIENCE)

    receiving = asyncio.create_task(receive_on())
    await driver.depth(QUEUE)
    await driver.delete(QUEUE)
    with pytest.raises(QueueNotFoundError):
        await receiving
    await declared(driver)
    await driver.publish(QUEUE, messages("a"))
    assert [each.id for each in await take(driver, 1)] == ["a"]


async def test_the_book_removed_underneath_is_made_again(site: Site) -> None:
    driver = await site.driver()
    await declared(driver)
    await driver.publish(QUEUE, messages("a"))
    (got,) = await take(driver, 1)
    await site.ask(f"STREAM.DELETE.{BOOK}")
    with pytest.raises(BrokerUnavailableError):
        await driver.settle(QUEUE, [Release(got.receipt)])
    assert list(await driver.settle(QUEUE, [Release(got.receipt)])) == []
    (again,) = await take(driver, 1)
    assert (again.id, again.attempt) == ("a", 1)


async def test_a_consumer_that_may_hold_no_more_goes_on_as_soon_as_it_may(site: Site) -> None:
    """An administrator's limit, or an account's: messages beyond it wait, and are not stuck."""
    driver = await site.driver()
    await declared(driver)
    info = await site.ask(f"CONSUMER.INFO.{STREAM}.m")
    config = {**info["config"], "max_ack_pending": 3}
    subject = config["filter_subject"]
    await site.ask(f"CONSUMER.CREATE.{STREAM}.m.{subject}", stream_name=STREAM, config=config)
    await driver.publish(QUEUE, messages(*map(str, range(10))))
    got = await take(driver, 3)
    assert await driver.receive(QUEUE, 10, 0.3) == []
    await driver.settle(QUEUE, [Ack(got[0].receipt), Nack(got[1].receipt), Release(got[2].receipt)])
    assert sorted(await drained(driver), key=int) == [got[1].id, got[2].id, *map(str, range(3, 10))]


async def test_the_last_delivery_is_ours_and_nothing_stays_at_the_server(site: Site) -> None:
    """The server gives up on no message by itself, and a dead letter of the layer above leaves no trace."""
    driver = await site.driver()
    await declared(driver, lease=1.0)
    await driver.publish(QUEUE, messages("a"))
    for attempt in range(1, 12):
        (got,) = await take(driver, 1)
        assert got.attempt == attempt
        await driver.settle(QUEUE, [Nack(got.receipt, 0.01)])
    (got,) = await take(driver, 1)
    await driver.settle(QUEUE, [Ack(got.receipt)])
    stream, consumer = await site.ask(f"STREAM.INFO.{STREAM}"), await site.ask(f"CONSUMER.INFO.{STREAM}.m")
    assert stream["state"]["messages"] == 0
    assert (consumer["num_pending"], consumer["num_ack_pending"], consumer["num_redelivered"]) == (0, 0, 0)
    assert await site.notes() == 0


async def test_processes_that_come_and_go_leave_nothing_in_the_book(site: Site) -> None:
    for _ in range(3):
        driver = await site.driver()
        await declared(driver)
        await driver.attach(QUEUE, 2)
        await driver.close()
    assert await site.notes() == 0


async def test_what_a_dead_process_said_is_erased(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attendance, "LASTS", 0.3)
    dead, living = await site.driver(), await site.driver(is_direct=True)
    await declared(living)
    await dead.declare(QueueSpec(QUEUE))
    await dead.attach(QUEUE, 1)
    site.proxy.close()
    end = time.monotonic() + PATIENCE
    while await site.notes():
        assert time.monotonic() < end, "waited in vain"
        await living.depth(QUEUE)
        await asyncio.sleep(0.05)


async def test_a_connection_that_breaks_within_a_large_batch_leaves_its_outcome_unknown(site: Site) -> None:
    """Whenever it breaks: data written before may be stored."""
    driver = await site.driver(is_direct=True)
    await declared(driver)
    connection = await driver._session._guard.current.get()
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
        patch.setattr(holding, "confirmed", silent)
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


async def test_delays_hold_over_kills_and_are_never_early(site: Site) -> None:
    driver = await site.driver(is_direct=True)
    await declared(driver, lease=4.0)
    began = time.monotonic()
    await driver.publish(QUEUE, messages("unseen", delay=2.0))
    await driver.publish(QUEUE, messages("nacked"))
    await driver.publish(QUEUE, messages("seen", delay=2.0))
    (got,) = await take(driver, 1)  # and with it "seen" is put off
    assert got.id == "nacked"
    await driver.settle(QUEUE, [Nack(got.receipt, 2.0)])
    await asyncio.to_thread(site.broker.restart)
    taken = await take(driver, 3)
    assert time.monotonic() - began >= 2.0
    assert {(each.id, each.attempt) for each in taken} == {("unseen", 1), ("seen", 1), ("nacked", 2)}


async def test_delayed_messages_begin_at_attempt_1_however_soon_a_worker_sees_them(site: Site) -> None:
    """The publisher's note on a delay came after the worker's, and the delivery that had only waited was counted."""
    driver, publisher = await site.driver(is_direct=True), await site.driver(is_direct=True)
    for each in (driver, publisher):
        await declared(each, lease=60.0)
    number = 10_000

    async def publish() -> None:
        for start in range(0, number, 10):
            await publisher.publish(QUEUE, messages(*(str(start + index) for index in range(10)), delay=0.5))

    publishing = asyncio.create_task(publish())
    attempts: Counter[int] = Counter()
    async with asyncio.timeout(PATIENCE * 3):
        while attempts.total() < number:
            got = await driver.receive(QUEUE, 100, 1.0)
            attempts.update(each.attempt for each in got)
            await driver.settle(QUEUE, [Ack(each.receipt) for each in got])
    await publishing
    assert attempts == {1: number}


async def test_memory_storage_is_gone_with_the_server_and_the_driver_says_so(site: Site) -> None:
    driver = await site.driver(is_direct=True, storage="memory", stream_prefix="volatile")
    assert driver.durability == "process"
    await declared(driver)
    await driver.publish(QUEUE, messages("a"))
    await asyncio.to_thread(site.broker.restart)
    with pytest.raises(DriverError):
        await received_for_ever(driver)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            await driver.publish(QUEUE, messages("b"))
            break
        except DriverError:
            await asyncio.sleep(0.05)
    assert await drained(driver) == ["b"]


async def test_messages_of_another_program_arrive_as_they_are(site: Site) -> None:
    import nats

    driver = await site.driver()
    await declared(driver)
    client = await nats.connect(f"nats://127.0.0.1:{site.broker.port}")
    try:
        for data in (b"plain", b"", b"\xc1TSK1\x00\x00\x00\x04oops", b"\xc1TSK1"):
            await client.jetstream().publish("tasuki.q.tasks.m", data, headers={"X-Theirs": "1"})
    finally:
        await client.close()
    got = await take(driver, 4)
    assert [each.body for each in got] == [b"plain", b"", b"\xc1TSK1\x00\x00\x00\x04oops", b"\xc1TSK1"]
    assert len({each.id for each in got}) == 4
    assert all(each.id for each in got)


async def test_ten_processes_that_declare_at_once_agree(site: Site) -> None:
    drivers = [site.made(site.proxy.port) for _ in range(10)]
    try:
        for driver in drivers:
            await driver.declare(QueueSpec("keyed", ordering="key"))
        await asyncio.gather(*(driver.open() for driver in drivers))
        batch = [Outgoing(str(number), b"", {}, key=f"k{number}") for number in range(20)]
        await asyncio.gather(
            *(driver.publish("keyed", batch[index * 2 : index * 2 + 2]) for index, driver in enumerate(drivers))
        )
        assert sorted(await drained(drivers[0], "keyed"), key=int) == [message.id for message in batch]
    finally:
        await asyncio.gather(*(driver.close() for driver in drivers))


async def test_a_full_queue_takes_no_later_message_of_a_batch(site: Site) -> None:
    """Room that is made in the middle of a batch is not for the later ones: the order would be lost."""
    driver = await site.driver()
    other = await site.driver(is_direct=True)
    for each in (driver, other):
        await declared(each, max_length=50)

    async def make_room() -> None:
        while not publishing.done():
            got = await other.receive(QUEUE, 7, 0.05)
            if got:
                await other.settle(QUEUE, [Ack(each.receipt) for each in got])

    partly = turn = 0
    while turn < 10 or not partly:
        turn += 1
        batch = messages(*(f"{turn}-{number}" for number in range(300)))
        publishing = asyncio.create_task(driver.publish(QUEUE, batch))
        await make_room()
        try:
            results = list(await publishing)
        except QueueFullError:  # not even the first found room
            continue
        first = next((index for index, result in enumerate(results) if result is not None), len(batch))
        assert all(isinstance(result, QueueFullError) for result in results[first:])
        partly += first < len(batch)
