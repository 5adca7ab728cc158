"""Clause 32, and more cases: content, duplicates by id, deleted queues, and publishes that are refused."""

from __future__ import annotations

import asyncio
from math import inf, nan
from unittest import SkipTest

from tasuki.contracts.driver import Ack, Nack, Release
from tasuki.errors import (
    BrokerUnavailableError,
    MessageTooLargeError,
    QueueConflictError,
    QueueFullError,
    QueueNotFoundError,
    UnsupportedError,
)
from tasuki.message import HeaderValue
from tasuki.testing.conformance.rig import Rig, Suite, case, ended, has, ids

_LARGEST_TO_TRY = 64 * 2**20

_BATCH_TO_TRY = 16 * 2**20


class Content(Suite):
    """Bodies, headers, batches and queues; empty batches, impossible values, late settlements, forced ids."""

    @case()
    async def test_bodies_of_any_bytes(self, rig: Rig) -> None:
        bodies = [b"", b"\0", b"\xff\xfe", "襷 🎌".encode(), b'{"json": true}', b"x" * 300_000]
        await rig.publish(*map(rig.message, bodies))
        got = await rig.take(len(bodies))
        assert {delivery.id: delivery.body for delivery in got} == {f"{n:04d}": body for n, body in enumerate(bodies)}

    @case()
    async def test_header_types_are_kept(self, rig: Rig) -> None:
        headers: dict[str, HeaderValue] = {
            "true": True, "false": False, "one": 1, "one_point_zero": 1.0, "zero": 0, "largest": 2**63 - 1,
            "smallest": -(2**63), "huge": 1.7e308, "tiny": 5e-324, "third": 1 / 3, "beyond_double": 2**53 + 1,
            "empty": "", "text": "12", "unicode": "襷 🎌 é", "newline": "a\r\nb\0", "Ünï-ключ": "key",
        }  # fmt: skip
        await rig.publish(rig.message(headers=headers))
        got = (await rig.one()).headers
        assert got == headers
        assert {key: type(value) for key, value in got.items()} == {key: type(headers[key]) for key in headers}

    @case()
    async def test_no_headers_and_many_headers(self, rig: Rig) -> None:
        many = {f"header-{number}": number for number in range(64)}
        await rig.publish(rig.message(), rig.message(headers=many))
        got = {delivery.id: delivery.headers for delivery in await rig.take(2)}
        assert got == {"0000": {}, "0001": many}

    @case()
    async def test_the_same_on_each_delivery(self, rig: Rig) -> None:
        sent = rig.message(b"\0body\xff", headers={"n": 1, "f": 1.0})
        await rig.publish(sent)
        for settlement in (Nack, Release, Nack):
            got = await rig.one()
            assert (got.id, got.body, got.headers) == (sent.id, sent.body, sent.headers)
            await rig.driver.settle(rig.queue, [settlement(got.receipt)])

    @case()
    async def test_what_the_publisher_changes_later_is_not_seen(self, rig: Rig) -> None:
        await rig.declare(name=rig.other)
        sent = rig.message(headers={"n": 1})
        await rig.publish(sent)
        await rig.publish(sent, queue=rig.other)
        sent.headers["n"] = 2
        sent.headers["new"] = True
        sent.body = b"changed"
        for queue in (rig.queue, rig.other):
            got = (await rig.take(queue=queue))[0]
            assert (got.body, got.headers) == (b"body", {"n": 1})

    @case()
    async def test_what_a_receiver_changes_is_not_seen(self, rig: Rig) -> None:
        await rig.publish(rig.message(headers={"n": 1}))
        for settlement in (Nack, Release):
            got = await rig.one()
            assert got.headers == {"n": 1}
            got.headers["n"] = 2
            await rig.driver.settle(rig.queue, [settlement(got.receipt)])
        assert (await rig.one()).headers == {"n": 1}

    @case()
    async def test_the_same_id_twice_is_two_messages(self, rig: Rig) -> None:
        await rig.publish(rig.message(id="same"), rig.message(id="same"))
        got = await rig.take(2)
        assert ids(got) == ["same", "same"]
        await rig.ack(got[0])
        await rig.driver.settle(rig.queue, [Nack(got[1].receipt)])
        await rig.ack(await rig.one())
        await rig.nothing()

    @case()
    async def test_the_largest_batch(self, rig: Rig) -> None:
        number = rig.driver.capabilities.max_batch
        published = await rig.publish(*rig.messages(number))
        got = await rig.take(number)
        assert sorted(ids(got)) == sorted(published)
        await rig.ack(*got)
        await rig.nothing()

    @case("max_length")
    async def test_one_result_a_message(self, rig: Rig) -> None:
        await rig.declare(max_length=7)
        batch = rig.messages(10)
        results = await rig.results(*batch)
        assert [type(result) for result in results] == [type(None)] * 7 + [QueueFullError] * 3
        assert all(result.retryable and result.outcome == "rejected" for result in results if result)
        await rig.only(*(message.id for message in batch[:7]))

    @case("max_message_bytes")
    async def test_the_largest_message(self, rig: Rig) -> None:
        most = rig.driver.capabilities.max_message_bytes or 0
        large = rig.message(bytes(most + 1))
        results = await rig.results(rig.message(), large, rig.message())
        assert [type(result) for result in results] == [type(None), MessageTooLargeError, type(None)]
        await rig.ack(*await rig.take(2))  # else their leases may end while the large one is on its way
        if most <= _LARGEST_TO_TRY:
            number = max(1, min(3, _BATCH_TO_TRY // most))
            await rig.driver.declare(rig.spec(lease=60.0))
            await rig.publish(*(rig.message(bytes(most)) for _ in range(number)))
            assert [len(delivery.body) for delivery in await rig.take(number)] == [most] * number

    @case()
    async def test_queues_are_apart(self, rig: Rig) -> None:
        names = [f"queue-{number}" for number in range(20)]
        for name in names:
            await rig.declare(name=name)
        for name in names:
            await rig.publish(*(rig.message(name.encode()) for _ in range(5)), queue=name)
        for name in names:
            got = await rig.take(5, queue=name)
            assert {delivery.body for delivery in got} == {name.encode()}
            await rig.ack(*got, queue=name)
        await rig.nothing(queue=names[0])
        await rig.nothing(queue=names[-1])

    @case()
    async def test_a_receipt_of_another_queue_is_stale(self, rig: Rig) -> None:
        await rig.declare(name=rig.other)
        await rig.publish(rig.message())
        got = await rig.one()
        assert list(await rig.driver.settle(rig.other, [Ack(got.receipt)])) == [got.receipt]
        assert list(await rig.driver.extend(rig.other, [got.receipt], rig.long)) == [got.receipt]
        await rig.ack(got)

    @case()
    async def test_names_of_queues(self, rig: Rig) -> None:
        for name in ("app:tasks", "a.b-c_d", "x" * 64):
            await rig.declare(name=name)
            await rig.publish(rig.message(), queue=name)
            await rig.ack(*await rig.take(queue=name), queue=name)

    @case("peek")
    async def test_peek_shows_delayed_messages_last(self, rig: Rig) -> None:
        late, soon, now = (rig.message(delay=delay * rig.long) for delay in (5, 4, 0))
        await rig.publish(late, soon, now)
        shown = [message.id for message in await rig.driver.peek(rig.queue, 10)]
        assert shown == [now.id, soon.id, late.id]
        parts = [(await rig.driver.peek(rig.queue, 1, after=number))[0].id for number in range(3)]
        assert parts == shown
        assert list(await rig.driver.peek(rig.queue, 10, after=3)) == []

    @case("purge")
    async def test_purge_removes_all_kinds_of_waiting_messages(self, rig: Rig) -> None:
        driver = rig.driver
        await rig.publish(*rig.messages(2, delay=rig.long * 2))
        if has(driver, "native_priority"):
            await driver.declare(rig.spec(priorities=True))
            await rig.publish(*rig.messages(2, priority=9))
        await rig.publish(*rig.messages(2))
        expected = 4 + 2 * has(driver, "native_priority")
        assert await driver.purge(rig.queue) == expected
        await rig.counts(0, 0, 0)
        await rig.advance(rig.long * 3)
        await rig.nothing()
        await rig.publish(rig.message())
        await rig.ack(await rig.one())

    @case()
    async def test_32_nothing_asked_nothing_answered(self, rig: Rig) -> None:
        published = await rig.publish(rig.message())
        async with asyncio.timeout(rig.suite.patience):
            assert list(await rig.driver.publish(rig.queue, [])) == []
            assert await rig.driver.receive(rig.queue, 0, 60.0) == []
            assert list(await rig.driver.settle(rig.queue, [])) == []
            assert list(await rig.driver.extend(rig.queue, [], rig.long)) == []
            assert list(await rig.driver.start(rig.queue, [])) == []
        assert ids(await rig.take()) == published

    @case()
    async def test_32_impossible_delays_and_priorities_are_refused(self, rig: Rig) -> None:
        for delay in (-1.0, inf, nan):
            results = await rig.results(rig.message(delay=delay))
            assert [type(result) for result in results] == [UnsupportedError], f"a delay of {delay}: {results}"
        for priority in (-1, 10, 42):
            results = await rig.results(rig.message(priority=priority))
            assert [type(result) for result in results] == [UnsupportedError], f"priority {priority}: {results}"
        await rig.nothing()

    @case("leases")
    async def test_32_a_settlement_after_the_lease_is_taken(self, rig: Rig) -> None:
        await rig.publish(rig.message())
        got = await rig.one()
        await rig.advance(rig.long * 1.2)
        await rig.driver.depth(rig.queue)  # which may notice the end of the lease
        await rig.ack(got)
        await rig.nothing()
        await rig.advance(rig.long * 1.2)
        await rig.nothing()

    @case("leases")
    async def test_32_a_release_after_the_lease_ends_the_delivery(self, rig: Rig) -> None:
        published = await rig.publish(rig.message())
        got = await rig.one()
        await rig.advance(rig.long * 1.2)
        await rig.driver.depth(rig.queue)
        assert list(await rig.driver.settle(rig.queue, [Release(got.receipt)])) == []
        assert list(await rig.driver.settle(rig.queue, [Ack(got.receipt)])) == [got.receipt]
        assert ids(await rig.take()) == published

    @case("leases", "ordering_key")
    async def test_32_a_settlement_after_the_lease_is_taken_also_behind_its_key(self, rig: Rig) -> None:
        """Meanwhile the queue has got an order per key, and an earlier message of its key has become due."""
        first, second = await rig.publish(rig.message(key="k", delay=rig.long * 1.1), rig.message(key="k"))
        got = await rig.one()
        assert got.id == second
        await rig.advance(rig.long * 1.3)
        await rig.driver.depth(rig.queue)
        try:
            await rig.declare(ordering="key")
        except QueueConflictError:  # a driver may refuse what it could not keep
            return
        await rig.ack(got)
        left = await rig.one()
        assert left.id == first
        await rig.ack(left)
        await rig.nothing()

    @case("dedup")
    async def test_32_a_forced_message_changes_nothing_in_what_is_known(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window, lease=300.0)
        await rig.publish(rig.message(id="new", deduplicate=False))
        await rig.publish(rig.message(id="new"))
        await rig.publish(rig.message(id="new"))
        await rig.publish(rig.message(id="known"))
        await rig.publish(rig.message(id="known", deduplicate=False))
        await rig.publish(rig.message(id="known"))
        assert sorted(await rig.drain()) == ["known"] * 2 + ["new"] * 2


class Duplicates(Suite):
    """An id that was published before, and one that never was."""

    @case("dedup")
    async def test_an_id_may_come_again_after_the_window(self, rig: Rig) -> None:
        if rig.driver.capabilities.dedup_window:
            raise SkipTest("not applicable: the window of this broker is fixed, and too long to be waited for")
        await rig.declare(dedup_window=rig.long)
        await rig.publish(rig.message(id="a"))
        await rig.ack(await rig.one())
        await rig.advance(rig.long * 0.5)
        await rig.publish(rig.message(id="a"))
        await rig.nothing()
        await rig.advance(rig.long * 0.8)  # the window began with the first one, not with the duplicate
        await rig.publish(rig.message(id="a"))
        assert (await rig.one()).id == "a"

    @case("dedup")
    async def test_a_forced_duplicate_is_stored_each_time(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window)
        await rig.publish(rig.message(id="a"))
        await rig.publish(*(rig.message(id="a", deduplicate=False) for _ in range(2)))
        await rig.publish(rig.message(id="a", deduplicate=False))
        assert ids(await rig.take(4)) == ["a"] * 4

    @case("dedup")
    async def test_duplicates_within_one_batch(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window)
        await rig.publish(*(rig.message(id=id) for id in ("a", "b", "a", "c", "b", "a")))
        await rig.only("a", "b", "c")

    @case("dedup")
    async def test_a_duplicate_of_a_delivery_that_failed(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window)
        await rig.publish(rig.message(id="a"))
        for settlement in (Nack, Release):
            got = await rig.one()
            await rig.publish(rig.message(id="a"))
            await rig.driver.settle(rig.queue, [settlement(got.receipt)])
        await rig.ack(await rig.one())
        await rig.nothing()

    @case("dedup")
    async def test_ids_of_other_queues_are_not_known(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window)
        await rig.declare(name=rig.other, dedup_window=rig.window)
        await rig.publish(rig.message(id="a"))
        await rig.publish(rig.message(id="a"), queue=rig.other)
        assert len(await rig.take()) == len(await rig.take(queue=rig.other)) == 1

    @case("dedup")
    async def test_a_window_can_be_given_and_taken_away(self, rig: Rig) -> None:
        await rig.publish(rig.message(id="a"), rig.message(id="a"))
        await rig.declare(dedup_window=rig.window)
        await rig.publish(rig.message(id="b"), rig.message(id="b"))
        await rig.declare()
        await rig.publish(rig.message(id="b"))
        assert sorted(ids(await rig.take(4))) == ["a", "a", "b", "b"]

    @case("dedup", "max_length")
    async def test_a_rejected_message_is_not_known_and_a_duplicate_needs_no_room(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window, max_length=2)
        await rig.publish(rig.message(id="a"))
        results = await rig.results(*(rig.message(id=id) for id in ("a", "b", "c", "c")))
        assert [type(result) for result in results] == [type(None)] * 2 + [QueueFullError] * 2
        await rig.publish(rig.message(id="b"))
        await rig.ack(*await rig.take(2))
        await rig.publish(rig.message(id="c"))
        assert (await rig.one()).id == "c"

    @case("dedup", "multi_process")
    async def test_ids_are_known_after_a_restart(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.driver.capabilities.dedup_window or 600.0)
        await rig.publish(*(rig.message(id=id) for id in "ab"))
        await rig.ack(await rig.one())
        await rig.restart()
        await rig.publish(*(rig.message(id=id) for id in "abc"))
        await rig.only("b", "c")

    @case("dedup")
    async def test_the_same_ids_from_many_publishers_at_once(self, rig: Rig) -> None:
        spec = rig.spec(dedup_window=rig.window)
        drivers = [rig.driver]
        if rig.driver.capabilities.multi_process:
            drivers += [await rig.another(), await rig.another()]
        for driver in drivers:
            await driver.declare(spec)

        async def publish(number: int) -> None:
            for index in range(10):
                driver = drivers[(number + index) % len(drivers)]
                assert not any(await driver.publish(rig.queue, [rig.message(id=f"id-{index}")]))

        await asyncio.gather(*(publish(number) for number in range(10)))
        await rig.only(*(f"id-{index}" for index in range(10)))

    @case("dedup")
    async def test_a_duplicate_of_a_delayed_message(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window)
        await rig.publish(rig.message(id="a", delay=rig.long), rig.message(id="a"))
        await rig.nothing()
        await rig.advance(rig.long * 1.1)
        await rig.ack(await rig.one())
        await rig.nothing()

    @case()
    async def test_deleting_wakes_whoever_waits_and_leaves_other_queues_alone(self, rig: Rig) -> None:
        await rig.declare(name=rig.other)
        await rig.publish(rig.message(), queue=rig.other)
        waiting = asyncio.create_task(rig.driver.receive(rig.queue, 1, 30.0))
        await asyncio.sleep(0.02)
        await rig.driver.delete(rig.queue)
        async with asyncio.timeout(rig.suite.patience):
            answer = await ended(waiting)
        assert answer == [] or isinstance(answer, QueueNotFoundError | BrokerUnavailableError)
        await rig.ack(*await rig.take(queue=rig.other), queue=rig.other)

    @case("multi_process")
    async def test_what_another_driver_does_with_a_deleted_queue_harms_no_other(self, rig: Rig) -> None:
        other = await rig.another()
        for driver in (rig.driver, other):
            await driver.declare(rig.spec(name=rig.other))
        await rig.publish(rig.message())
        held = await rig.one(driver=other)
        await rig.driver.delete(rig.queue)
        await rig.publish(rig.message(id="x"), queue=rig.other)
        try:
            await other.settle(rig.queue, [Ack(held.receipt)])
            await other.publish(rig.queue, [rig.message(id="late")])
        except (QueueNotFoundError, BrokerUnavailableError):
            pass
        assert ids(await rig.take(queue=rig.other, driver=other)) == ["x"]
        await rig.declare()
        await rig.publish(rig.message(id="new"))
        assert "new" in await rig.drain()
