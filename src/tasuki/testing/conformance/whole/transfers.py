"""Clause 50 with many messages, many callers, and connections that break; and 57: several messages of one id."""

from __future__ import annotations

import asyncio
from typing import Any

from tasuki.contracts.driver import Nack, Outgoing, Release, Transfer, place_of
from tasuki.errors import DriverError, MessageNotFoundError, QueueFullError
from tasuki.message import Message
from tasuki.testing.conformance.driver.transferring import declare_near, to_other, transferred
from tasuki.testing.conformance.rig import Rig, Suite, cancelled, case, each_result, turn

_LATE = 300.0
"""Seconds: later than the end of a case."""
_CUTS = 20
"""Answers of the broker that a transfer does not need."""


class Transfers(Suite):
    """Each message is in one queue at any time."""

    @case("transfer")
    async def test_50_of_many_callers_one_does_it(self, rig: Rig) -> None:
        await declare_near(rig)
        published = await rig.publish(*rig.messages(100))
        drivers = [rig.driver, await rig.elsewhere()]
        await drivers[1].declare(rig.spec(name=rig.other))
        done: list[str] = []

        async def carry(number: int) -> None:
            driver = drivers[number % 2]
            for start in range(0, 100, 20):
                part = published[start : start + 20]
                batch = [to_other(rig, id) for id in (part if number < 2 else reversed(part))]
                told = await each_result(driver.transfer(rig.queue, batch), len(batch))
                assert all(each is None or isinstance(each, MessageNotFoundError) for each in told), told
                done.extend(item.id for item, error in zip(batch, told, strict=True) if error is None)

        await asyncio.gather(*map(carry, range(4)))
        assert sorted(done) == published
        assert sorted(await rig.drain(queue=rig.other, expected=100)) == published
        await rig.counts(0, 0, 0)

    @case("transfer")
    async def test_50_some_among_many(self, rig: Rig) -> None:
        """A search that takes several steps; another one of messages that were shown."""
        await declare_near(rig)
        published = await rig.publish(*rig.messages(1000))
        wanted = published[::100]
        assert await transferred(rig, *(to_other(rig, id) for id in wanted)) == [None] * len(wanted)
        shown = published[7::100]
        if rig.driver.capabilities.peek:
            await rig.driver.peek(rig.queue, 1000)
        assert await transferred(rig, *(to_other(rig, id) for id in shown)) == [None] * len(shown)
        assert await rig.drain(queue=rig.other, expected=20) == wanted + shown
        assert sorted(await rig.drain(expected=980)) == sorted(set(published) - {*wanted, *shown})

    @case("transfer", "max_length", "ordering_key")
    async def test_50_transfers_that_meet_lose_and_double_nothing(self, rig: Rig) -> None:
        """In both directions, where there is room for some only, while others receive."""
        await rig.declare(max_length=30, ordering="key")
        await declare_near(rig, max_length=30, ordering="key")
        drivers = [rig.driver, await rig.elsewhere(max_length=30, ordering="key")]
        await drivers[1].declare(rig.spec(name=rig.other, max_length=30, ordering="key"))
        ids = [f"{number}" for number in range(40)]
        for queue, part in ((rig.queue, ids[:20]), (rig.other, ids[20:])):
            await rig.publish(*(rig.message(id=id, key=id[-1]) for id in part), queue=queue)
        acked: list[str] = []

        async def carry(number: int, source: str, to: str) -> None:
            driver = drivers[number % 2]
            for start in range(0, 40, 8):
                batch = [Transfer(id, to, Outgoing(id, b"body", {}, key=id[-1])) for id in ids[start : start + 8]]
                for told in await each_result(driver.transfer(source, batch), len(batch)):
                    assert told is None or isinstance(told, MessageNotFoundError | QueueFullError), told

        async def handle(queue: str) -> None:
            for _ in range(5):
                taken = await rig.driver.receive(queue, 2, 0.0)
                await rig.ack(*taken, queue=queue)
                acked.extend(each.id for each in taken)
                await asyncio.sleep(0)

        ways = [(rig.queue, rig.other), (rig.other, rig.queue)]
        await asyncio.gather(
            *(carry(number, *ways[number // 2 % 2]) for number in range(4)), handle(rig.queue), handle(rig.other)
        )
        left = await rig.drain() + await rig.drain(queue=rig.other)
        assert sorted(acked + left) == sorted(ids)

    @case("transfer")
    async def test_50_a_cancelled_transfer_loses_nothing(self, rig: Rig) -> None:
        await declare_near(rig)
        published = await rig.publish(*rig.messages(20))
        for number, id in enumerate(published):
            task = asyncio.create_task(transferred(rig, to_other(rig, id)))
            await turn(number % 10)
            await cancelled(task)
        there = await rig.drain(queue=rig.other)
        assert sorted(there + await rig.drain(expected=20 - len(there))) == published

    @case("transfer")
    async def test_50_a_transfer_that_is_cut_short_is_whole(self, rig: Rig) -> None:
        await declare_near(rig)
        published: list[str] = []
        for answers in range(_CUTS):
            published += await rig.publish(*rig.messages(3))
            batch = [to_other(rig, id) for id in published[-3:]]
            async with rig.suite.cut_short(rig.place, answers) as is_cut:
                told = await transferred(rig, *batch)
                has_been_cut = is_cut()
            await _until_back(rig)
            for transfer, error in zip(batch, told, strict=True):
                if error is None or error.outcome == "rejected":
                    again = await transferred(rig, transfer)
                    found = not isinstance(again[0], MessageNotFoundError)
                    assert found == (error is not None), f"{error!r}, and then {again}"
            if not has_been_cut:
                break
        else:
            raise AssertionError(f"a transfer took more than {_CUTS} answers")
        there = await rig.drain(queue=rig.other)
        assert sorted(there + await rig.drain(expected=len(published) - len(there))) == published

    @case("transfer", "peek")
    async def test_57_a_transfer_takes_out_the_message_at_its_place(self, rig: Rig) -> None:
        """The stored one was made from the message that was read, and that one leaves."""
        await declare_near(rig)
        await _publish_twins(rig, b"1", b"2", b"3")
        first, second, third = await rig.driver.peek(rig.queue, 10)
        assert len({place_of(first), place_of(second), place_of(third), ""}) == 4
        assert await transferred(rig, _from(rig, third), _from(rig, second)) == [None, None]
        assert [each.body for each in await rig.take(2, queue=rig.other)] == [b"3", b"2"]
        assert [each.body for each in await rig.driver.peek(rig.queue, 10)] == [b"1"]
        assert await transferred(rig, _from(rig, first)) == [None]
        await rig.counts(0, 0, 0)

    @case("transfer", "peek")
    async def test_57_what_has_left_its_place_is_missing(self, rig: Rig) -> None:
        """Another message of the id is not taken for it, and one that names the id alone gets one that none names."""
        await declare_near(rig)
        await _publish_twins(rig, b"1", b"2", b"3", b"4")
        await rig.publish(rig.message(id="b"))
        first, _, _, _, other = await rig.driver.peek(rig.queue, 10)
        strange = [Transfer("a", rig.other, rig.message(), place) for place in ("no", "1e3", "-1", "9" * 40)]
        strange.append(Transfer("a", rig.other, rig.message(), place_of(other)))
        told = await transferred(rig, *strange)
        assert [type(each) for each in told] == [MessageNotFoundError] * 5, told
        told = await transferred(rig, _from(rig, first), _from(rig, first), to_other(rig, "a", body=b"any"))
        assert [type(each) for each in told] == [type(None), MessageNotFoundError, type(None)]
        told = await transferred(rig, _from(rig, first))
        assert [type(each) for each in told] == [MessageNotFoundError], "the others of the id stay"
        assert [each.body for each in await rig.take(2, queue=rig.other)] == [b"1", b"any"]
        await rig.nothing(queue=rig.other)
        left = [each.body for each in await rig.take(3)]
        assert left[-1] == b"body", "and two of the others"
        assert set(left[:2]) < {b"2", b"3", b"4"}

    @case("transfer", "peek", "find")
    async def test_57_a_place_is_kept_past_nacks_and_releases(self, rig: Rig) -> None:
        await declare_near(rig)
        await _publish_twins(rig, b"1", b"2")
        before = {each.body: place_of(each) for each in await rig.driver.find(rig.queue, ["a"])}
        assert before == {each.body: place_of(each) for each in await rig.driver.peek(rig.queue, 10)}
        for settlement in (Nack, Release):
            got = await rig.take(2)
            told = await transferred(rig, *(_from(rig, each, before[each.body]) for each in got))
            assert [type(each) for each in told] == [MessageNotFoundError] * 2, "they are held"
            await rig.driver.settle(rig.queue, [settlement(each.receipt) for each in got])
        found = await rig.driver.find(rig.queue, ["a"])
        assert {each.body: place_of(each) for each in found} == before
        assert await transferred(rig, *(_from(rig, each, before[each.body]) for each in found)) == [None, None]

    @case("transfer", "native_delay", "causes")
    async def test_57_delayed_messages_and_those_of_a_cause_have_places_too(self, rig: Rig) -> None:
        await declare_near(rig)
        cause = "0123456789ab"
        await _publish_twins(rig, b"1", b"2", headers={"x_cause": cause}, delay=_LATE)
        first, second = await rig.driver.peek_cause(rig.queue, cause, 10)
        assert [place_of(each) for each in await rig.driver.peek(rig.queue, 10)] == [place_of(first), place_of(second)]
        assert await transferred(rig, _from(rig, second)) == [None]
        assert [each.body for each in await rig.take(queue=rig.other)] == [b"2"]
        assert [each.body for each in await rig.driver.peek(rig.queue, 10)] == [b"1"]


async def _until_back(rig: Rig) -> None:
    async with asyncio.timeout(rig.suite.patience):
        while True:
            try:
                await rig.driver.depth(rig.queue)
                return
            except DriverError:
                await asyncio.sleep(0.05)


async def _publish_twins(rig: Rig, *bodies: bytes, **options: Any) -> None:
    """Messages of one id."""
    await rig.publish(*(rig.message(body, id="a", deduplicate=False, **options) for body in bodies))


def _from(rig: Rig, message: Message, place: str = "") -> Transfer:
    """A transfer of a message that was read, as it is."""
    sent = rig.message(message.body, id=message.id)
    return Transfer(message.id, rig.other, sent, place or place_of(message))
