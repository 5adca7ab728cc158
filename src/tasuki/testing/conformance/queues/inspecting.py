"""Clauses 24, 29, 30, 33, 35 and 62: known queues, their options and counts, peek, purge, and inspection."""

from __future__ import annotations

import asyncio
import time
from itertools import product

from tasuki.contracts.driver import Ack, Driver, Nack, Occupancy, Release
from tasuki.errors import BrokerUnavailableError, DriverError, QueueFullError, QueueNotFoundError
from tasuki.testing.conformance.rig import Rig, Suite, case, ended, fresh_verbs, has, ids, raises


class Inspecting(Suite):
    """Undeclare and inspect."""

    @case()
    async def test_29_an_undeclared_queue_is_forgotten_and_stays_at_the_broker(self, rig: Rig) -> None:
        published = await rig.publish(*rig.messages(3))
        held = await rig.one()
        await rig.driver.undeclare(rig.queue)
        await rig.driver.undeclare(rig.queue)
        for verb in fresh_verbs(rig, rig.queue):
            await raises(QueueNotFoundError, rig, verb)
        assert list(await rig.driver.extend(rig.queue, [held.receipt], rig.long)) == []
        assert list(await rig.driver.settle(rig.queue, [Ack(held.receipt)])) == []
        await rig.declare()
        assert sorted([held.id, *ids(await rig.take(2))]) == published
        await rig.nothing()

    @case()
    async def test_29_undeclaring_ends_a_waiting_receive(self, rig: Rig) -> None:
        for pause in (0.0, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032):  # wherever it stands: it may only be beginning
            waiting = asyncio.create_task(rig.driver.receive(rig.queue, 1, 600.0))
            await asyncio.sleep(pause)
            await rig.driver.undeclare(rig.queue)
            async with asyncio.timeout(rig.suite.patience):
                answer = await ended(waiting)
            assert answer == [] or isinstance(answer, QueueNotFoundError), answer
            await rig.declare()

    @case()
    async def test_29_an_undeclared_queue_is_not_declared_by_opening_again(self, rig: Rig) -> None:
        await rig.driver.undeclare(rig.queue)
        await rig.reopen()
        for verb in fresh_verbs(rig, rig.queue):
            await raises(QueueNotFoundError, rig, verb)

    @case()
    async def test_29_undeclaring_what_was_never_declared_does_nothing(self, rig: Rig) -> None:
        await rig.driver.undeclare("nowhere")

    @case()
    async def test_30_inspecting_finds_what_was_declared(self, rig: Rig) -> None:
        """A process that declares the same again is not said to change anything."""
        capabilities = rig.driver.capabilities
        options = {"ordering": "key"} if capabilities.has("ordering_key") else {}
        spec = rig.spec(name=rig.other, priorities=capabilities.has("declares_priorities"), **options)
        await rig.driver.declare(spec)
        assert await (await rig.stranger() if capabilities.multi_process else rig.driver).inspect(spec) == spec

    @case("multi_process")
    async def test_30_an_inspected_queue_can_be_used(self, rig: Rig) -> None:
        other = await rig.stranger()
        await other.inspect(rig.spec())
        assert not any(await other.publish(rig.queue, [rig.message(id="theirs")]))
        await other.depth(rig.queue)
        (got,) = await rig.take(driver=other)
        assert got.id == "theirs"
        assert list(await other.settle(rig.queue, [Ack(got.receipt)])) == []
        await rig.reopen(other)
        published = await rig.publish(rig.message())
        try:
            assert ids(await rig.take(driver=other)) == published
        except QueueNotFoundError:
            await other.inspect(rig.spec())
            assert ids(await rig.take(driver=other)) == published

    @case("multi_process")
    async def test_30_viewing_a_queue_needs_no_declaration(self, rig: Rig) -> None:
        viewer = await rig.stranger()
        assert (await viewer.inspect(rig.spec())).name == rig.queue
        assert await viewer.occupancy(rig.queue) == Occupancy(ready=False, hidden=False)
        published = await rig.publish(*rig.messages(3))
        assert (await viewer.occupancy(rig.queue)).ready
        assert (await viewer.depth(rig.queue)).ready == 3
        if has(viewer, "peek"):
            assert [message.id for message in await viewer.peek(rig.queue, 10)] == published
        if has(viewer, "remove"):
            assert await viewer.remove(rig.queue, published[:1]) == 1
        if has(viewer, "purge"):
            assert await viewer.purge(rig.queue) == (2 if has(viewer, "remove") else 3)
        else:
            await rig.drain(expected=3)
        assert await viewer.occupancy(rig.queue) == Occupancy(ready=False, hidden=False)

    @case()
    async def test_30_inspecting_makes_no_queue(self, rig: Rig) -> None:
        absent = rig.spec(name=rig.other)
        for _ in range(2):
            await raises(QueueNotFoundError, rig, lambda: rig.driver.inspect(absent))
        for verb in fresh_verbs(rig, rig.other):
            await raises(QueueNotFoundError, rig, verb)
        published = await rig.publish(rig.message())
        assert ids(await rig.take()) == published

    @case("multi_process", "max_length")
    async def test_30_inspecting_changes_no_option(self, rig: Rig) -> None:
        await rig.declare(max_length=3)
        other = await rig.stranger()
        await other.inspect(rig.spec(max_length=100, lease=rig.long * 9))
        for driver in (other, rig.driver):
            answer = await driver.publish(rig.queue, rig.messages(2))
        assert [type(item) for item in answer] == [type(None), QueueFullError]

    @case("multi_process")
    async def test_30_an_inspected_queue_is_not_made_again(self, rig: Rig) -> None:
        await rig.driver.delete(rig.queue)  # a lasting queue may not become a temporary one
        temporary = await rig.declare(temporary=True)
        other = await rig.stranger()
        await other.inspect(temporary)
        await rig.driver.delete(rig.queue)
        assert type(await _failure(other, rig)) is QueueNotFoundError
        await rig.reopen(other)
        assert isinstance(await _failure(other, rig), QueueNotFoundError)
        await raises(QueueNotFoundError, rig, lambda: rig.driver.inspect(temporary))

    @case("store")
    async def test_62_looking_makes_no_store(self, rig: Rig) -> None:
        """A driver whose own tables hold its stores has each of them from the beginning."""
        other = await rig.stranger() if rig.driver.capabilities.multi_process else rig.driver
        store, theirs = rig.driver.store("looked_at"), other.store("looked_at")
        was_there = await store.exists()
        for each in (store, theirs, store):
            assert await each.exists() == was_there
        assert await rig.driver.store("beside_it").exists() == was_there
        await store.open()
        await store.put("key", b"value")
        assert [await each.exists() for each in (store, theirs)] == [True, True]
        assert await rig.driver.store("beside_it").exists() == was_there
        await store.close()
        assert await theirs.exists()

    @case("multi_process", "ordering_key")
    async def test_33_options_of_another_process_hold_at_once(self, rig: Rig) -> None:
        other = await rig.another(ordering="key")
        await rig.publish(*(rig.message(id=f"{key}{number}", key=key) for number in range(2) for key in "ab"))
        for number in range(2):
            got = await rig.only(f"a{number}", f"b{number}")
            await rig.nothing(driver=other)
            await rig.ack(*got)
        await rig.nothing(driver=other)


async def _failure(driver: Driver, rig: Rig) -> DriverError | None:
    """What a publish of one message answers, raised or returned; a reconnect may come before the answer."""
    for _ in range(20):
        try:
            results = list(await driver.publish(rig.queue, [rig.message()]))
        except BrokerUnavailableError:
            await asyncio.sleep(0.05)
        except DriverError as error:
            return error
        else:
            return next((result for result in results if isinstance(result, DriverError)), None)
    raise AssertionError("the broker does not come back")


class Counting(Suite):
    """Depth, occupancy and peek; a purge removes no message that was published after it began."""

    @case("exact_depth")
    async def test_depth_is_exact(self, rig: Rig) -> None:
        await rig.counts(0, 0, 0)
        await rig.publish(*rig.messages(6))
        await rig.counts(6, 0, 0)
        got = await rig.take(4)
        await rig.counts(2, 4, 0)
        await rig.driver.settle(rig.queue, [Ack(got[0].receipt), Nack(got[1].receipt), Release(got[2].receipt)])
        await rig.counts(4, 1, 0)
        await rig.ack(got[3])
        await rig.ack(*await rig.take(4))
        await rig.counts(0, 0, 0)

    @case("exact_depth", "ordering_key")
    async def test_35_occupancy_counts_what_stands_behind_its_key(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        await rig.publish(*rig.messages(3, key="k"))
        assert await rig.driver.occupancy(rig.queue) == Occupancy(ready=True, hidden=False)
        (held,) = await rig.driver.receive(rig.queue, 3, rig.suite.patience)
        assert await rig.driver.receive(rig.queue, 3, 0.0) == []
        assert await rig.driver.occupancy(rig.queue) == Occupancy(ready=True, hidden=True)
        await rig.ack(held)
        assert await rig.driver.occupancy(rig.queue) == Occupancy(ready=True, hidden=False)

    @case("exact_depth")
    async def test_depth_counts_delayed_messages(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(2, delay=rig.long))
        await rig.publish(rig.message())
        await rig.counts(1, 0, 2)
        got = await rig.one()
        await rig.driver.settle(rig.queue, [Nack(got.receipt, rig.long * 3)])
        await rig.counts(0, 0, 3)
        await rig.advance(rig.long * 1.1)
        await rig.counts(2, 0, 1)

    @case("multi_process")
    async def test_58_depth_counts_all_processes_or_says_none(self, rig: Rig) -> None:
        other = await rig.another()
        await rig.publish(*rig.messages(6))
        await rig.take(4)
        mine, depth = await rig.driver.depth(rig.queue), await other.depth(rig.queue)
        assert depth.in_flight is None or depth.in_flight == 4 or not other.capabilities.has("exact_depth"), depth
        kept, theirs = rig.driver.kept(rig.queue), other.kept(rig.queue)
        if kept is None:
            assert None not in (depth.in_flight, depth.delayed, mine.in_flight, mine.delayed), "nothing tells the rest"
            return
        assert (mine.in_flight, mine.delayed) == (depth.in_flight, depth.delayed), "neither counts itself alone"
        assert theirs is not None
        assert (kept.held - kept.unused, theirs.held) == (4, 0)
        assert kept.held + theirs.held + depth.ready == 6

    @case("multi_process")
    async def test_58_delays_are_of_all_processes_or_kept_by_their_own(self, rig: Rig) -> None:
        other = await rig.another()
        await rig.publish(*rig.messages(2, delay=rig.long * 20))
        depth, kept = await other.depth(rig.queue), rig.driver.kept(rig.queue)
        if kept is None:
            assert depth.delayed == 2 or not other.capabilities.has("exact_depth"), depth
            return
        assert (await rig.driver.depth(rig.queue)).delayed == depth.delayed, "neither counts itself alone"
        assert sum(kept.delays.values()) == 2
        now = time.monotonic()
        assert all(end - now > 0 for end in kept.delays), kept
        theirs = other.kept(rig.queue)
        assert theirs is not None
        assert not theirs.delays

    @case("exact_depth", "leases")
    async def test_depth_notices_a_lost_lease(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(2))
        await rig.take(2)
        await rig.advance(rig.long * 1.2)
        await rig.counts(2, 0, 0)

    @case()
    async def test_the_age_of_the_oldest_ready_message(self, rig: Rig) -> None:
        assert (await rig.driver.depth(rig.queue)).oldest_age is None
        await rig.publish(rig.message())
        await rig.advance(rig.long)
        await rig.publish(rig.message())
        age = (await rig.driver.depth(rig.queue)).oldest_age
        if age is None:
            return
        assert rig.long * 0.9 <= age < rig.long + rig.suite.patience
        first = await rig.one()
        age = (await rig.driver.depth(rig.queue)).oldest_age
        assert age is not None
        assert age < rig.long * 0.9
        await rig.driver.settle(rig.queue, [Nack(first.receipt)])
        await rig.take(2)
        assert (await rig.driver.depth(rig.queue)).oldest_age is None

    @case("peek")
    async def test_24_peek_shows_without_receiving(self, rig: Rig) -> None:
        await rig.declare(lease=300.0)  # what a peek has taken must not come back in time
        published = await rig.publish(*rig.messages(5, headers={"n": 1}))
        shown = await rig.driver.peek(rig.queue, 3)
        assert [message.id for message in shown] == published[:3]
        assert shown[0].headers == {"n": 1}
        rest = await rig.driver.peek(rig.queue, 10, after=3)
        assert [message.id for message in rest] == published[3:]
        assert [(got.id, got.attempt) for got in await rig.take(5)] == [(id, 1) for id in published]

    @case("purge")
    async def test_24_purge_removes_what_is_not_held(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(5))
        held = await rig.take(2)
        assert await rig.driver.purge(rig.queue) == 3
        await rig.nothing()
        await rig.driver.settle(rig.queue, [Nack(held[0].receipt), Ack(held[1].receipt)])
        assert ids(await rig.take()) == [held[0].id]
        assert await rig.driver.purge(rig.queue) == 0

    @case("purge")
    async def test_24_a_message_published_during_a_purge_survives_it(self, rig: Rig) -> None:
        """Publishers that never pause: a purge that takes several steps finds new messages at each of them."""
        for number, (purger, waits) in enumerate(product((rig.driver, await rig.elsewhere()), (True, False))):
            # A queue that no driver has received from: a broker that pushes could have handed its messages out.
            await _purge_under_load(rig, f"{rig.queue}-{number}", purger, waits=waits)


_WAITING, _LATE, _PUBLISHERS = 100, 40, 8


async def _purge_under_load(rig: Rig, queue: str, purger: Driver, *, waits: bool) -> None:
    """``waits``: the publishers start when the purge has begun, and so find an empty queue."""
    for driver in {rig.driver, purger}:
        await driver.declare(rig.spec(name=queue))
    waiting = await rig.publish(*rig.messages(_WAITING), queue=queue)
    began = asyncio.Event()
    early: list[str] = []
    late: list[str] = []

    async def publish() -> None:
        if waits:
            await began.wait()
        while len(late) < _LATE:
            published = late if began.is_set() else early
            published += await rig.publish(rig.message(), queue=queue)
            await asyncio.sleep(0)  # a driver in memory never waits

    async def watch() -> None:
        # Half of the messages are gone only when the purge has begun, also where a count lags behind.
        while not began.is_set():
            depth = await rig.driver.depth(queue)
            if purging.done() or depth.ready <= _WAITING / 2:
                began.set()
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for _ in range(_PUBLISHERS):
            group.create_task(publish())
        purging = group.create_task(purger.purge(queue))
        group.create_task(watch())
    total = len(waiting) + len(early) + len(late)
    left = await rig.drain(queue=queue, expected=total - purging.result())
    lost = set(late) - set(left)
    assert not lost, f"{len(lost)} of {len(late)} messages were removed that were published during the purge"
    assert not set(waiting) & set(left), "messages that waited when the purge began were left"
    assert purging.result() + len(left) == total
