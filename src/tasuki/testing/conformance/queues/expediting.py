"""Clause 49: end the delays of messages by their ids."""

from __future__ import annotations

import asyncio

from tasuki.contracts.driver import Limit, Nack, Release
from tasuki.testing.conformance.queues.limits import limited
from tasuki.testing.conformance.rig import Rig, Suite, case, ids

_MANY = 1000
_LATE = 300.0
"""Seconds: later than the end of a case."""


class Expediting(Suite):
    """A message whose delay is ended is as one whose time has come."""

    @case("expedite")
    async def test_49_a_delay_ends(self, rig: Rig) -> None:
        await rig.publish(*(rig.message(id=id, delay=_LATE) for id in ("a", "b", "ä", "d")))
        await rig.nothing()
        assert await rig.driver.expedite(rig.queue, ["b", "ä", "there is none", ""]) == 2
        await rig.counts(2, 0, 2)
        got = await rig.take(2)
        assert ids(got) == ["b", "ä"]
        await rig.ack(*got)
        await rig.nothing()
        assert await rig.driver.expedite(rig.queue, []) == 0
        assert await rig.driver.expedite(rig.queue, ["b"]) == 0, "it is gone"
        await rig.counts(0, 0, 2)

    @case("expedite")
    async def test_49_ready_and_held_messages_are_left_alone(self, rig: Rig) -> None:
        await rig.publish(rig.message(id="held"), rig.message(id="ready"))
        got = await rig.one()
        assert await rig.driver.expedite(rig.queue, ["held", "ready"]) == 0
        assert await rig.driver.settle(rig.queue, [Release(got.receipt, _LATE)]) == []
        assert ids(await rig.take()) == ["ready"]
        await rig.nothing()
        assert await rig.driver.expedite(rig.queue, ["held"]) == 1
        assert ids(await rig.take()) == ["held"]

    @case("expedite")
    async def test_49_attempts_and_places_are_kept(self, rig: Rig) -> None:
        await rig.publish(rig.message(id="a"), rig.message(id="b"))
        first, second = await rig.take(2)
        await rig.driver.settle(rig.queue, [Nack(first.receipt, _LATE), Release(second.receipt, _LATE)])
        await rig.publish(rig.message(id="c"))
        assert await rig.driver.expedite(rig.queue, ["a", "b"]) == 2
        got = await rig.take(3)
        assert sorted((each.id, each.attempt) for each in got) == [("a", 2), ("b", 1), ("c", 1)]
        await rig.ack(*got)
        await rig.counts(0, 0, 0)

    @case("expedite", "ordering_key")
    async def test_49_the_order_of_a_key_is_kept(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        await rig.publish(
            rig.message(id="a0", key="a", delay=_LATE), rig.message(id="a1", key="a", delay=_LATE),
            rig.message(id="b0", key="b"), rig.message(id="a2", key="a"),
        )  # fmt: skip
        got = await rig.one()
        assert got.id == "b0"
        await rig.ack(got)
        await rig.nothing()
        assert await rig.driver.expedite(rig.queue, ["a1"]) == 1
        await rig.nothing()
        assert await rig.driver.expedite(rig.queue, ["a0"]) == 1
        for expected in ("a0", "a1", "a2"):
            got = await rig.one()
            assert got.id == expected
            assert await rig.driver.receive(rig.queue, 1, 0.0) == []
            await rig.ack(got)

    @case("expedite")
    async def test_49_a_waiting_receive_is_woken(self, rig: Rig) -> None:
        await rig.publish(rig.message(id="a", delay=_LATE))
        other = await rig.elsewhere()
        await other.declare(rig.spec())
        receiving = asyncio.create_task(rig.driver.receive(rig.queue, 1, 6.0))
        await asyncio.sleep(0.3)
        began = asyncio.get_running_loop().time()
        assert await other.expedite(rig.queue, ["a"]) == 1
        assert ids(await receiving) == ["a"]
        assert asyncio.get_running_loop().time() - began < 3

    @case("expedite")
    async def test_49_some_among_many(self, rig: Rig) -> None:
        """A search that takes several steps."""
        published = await rig.publish(*(rig.message(id=f"{number:04d}", delay=_LATE) for number in range(_MANY)))
        wanted = published[::100]
        assert await rig.driver.expedite(rig.queue, wanted) == len(wanted)
        assert sorted(await rig.drain(expected=len(wanted))) == sorted(wanted)

    @case("expedite", "lanes", "limits:concurrency")
    async def test_49_a_message_is_in_its_lane_again(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=Limit(concurrency=1))
        late = [rig.message(id=f"{lane}late", lane=lane, delay=_LATE) for lane in "ab"]
        await rig.publish(*late, rig.message(id="a0", lane="a"))
        held = await rig.one()
        assert held.id == "a0"
        await rig.nothing()
        assert await rig.driver.expedite(rig.queue, ["alate", "blate"]) == 2
        got = await rig.one()
        assert got.id == "blate", "the lane a is full"
        await rig.nothing()
        await rig.ack(held)
        assert (await rig.one()).id == "alate"

    @case("expedite", "lanes")
    async def test_49_a_receive_that_waits_at_lanes_is_woken(self, rig: Rig) -> None:
        await limited(rig, fair=1)
        await rig.publish(rig.message(id="a", lane="a", delay=_LATE))
        receiving = asyncio.create_task(rig.driver.receive(rig.queue, 1, 6.0))
        await asyncio.sleep(0.3)
        began = asyncio.get_running_loop().time()
        assert await rig.driver.expedite(rig.queue, ["a"]) == 1
        assert ids(await receiving) == ["a"]
        assert asyncio.get_running_loop().time() - began < 3
