"""Clauses 29, 30, 33 and 62: queues that a process knows and whose options hold, and stores that it only looks at."""

from __future__ import annotations

import asyncio

from tasuki.contracts.driver import Ack, Driver, Occupancy
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
