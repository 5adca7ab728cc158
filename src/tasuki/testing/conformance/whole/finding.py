"""Clauses 24, 51 and 59: messages are shown from any number on, found and located by ids, without receiving them."""

from __future__ import annotations

from tasuki.contracts.driver import Nack
from tasuki.message import LAST_ERROR
from tasuki.testing.conformance.rig import Rig, Suite, case

_LATE = 300.0
"""Seconds: later than the end of a case."""


class Finding(Suite):
    """A search shows what waits, and changes nothing."""

    @case("find")
    async def test_51_find_shows_without_receiving(self, rig: Rig) -> None:
        await rig.publish(*(rig.message(b"\x00\xff", id=id, headers={"n": 1}) for id in ("a", "b", "c", "ä")))
        found = await rig.driver.find(rig.queue, ["ä", "there is none", "b", "", "\ud800", "\0"])
        assert [(each.id, each.body, each.headers) for each in found] == [
            (id, b"\x00\xff", {"n": 1}) for id in ("b", "ä")
        ]
        assert await rig.driver.find(rig.queue, []) == []
        got = await rig.take(4)
        assert [(each.id, each.attempt) for each in got] == [(id, 1) for id in ("a", "b", "c", "ä")]

    @case("find")
    async def test_51_held_messages_are_not_shown(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(2))
        got = await rig.one()
        found = await rig.driver.find(rig.queue, ["0000", "0001"])
        assert [each.id for each in found] == ["0001"]
        await rig.driver.settle(rig.queue, [Nack(got.receipt, error="it broke")])
        found = await rig.driver.find(rig.queue, ["0001", "0000"])
        assert [each.id for each in found] == ["0000", "0001"]
        if rig.driver.capabilities.keeps_errors:
            assert found[0].headers[LAST_ERROR] == "it broke"
            assert LAST_ERROR not in found[1].headers

    @case("find", "native_delay")
    async def test_51_each_message_of_an_id_wherever_it_waits(self, rig: Rig) -> None:
        bodies = [b"0", b"1", b"2"]
        messages = [
            rig.message(body, id="a", deduplicate=False, delay=_LATE * number) for number, body in enumerate(bodies)
        ]
        await rig.publish(*messages, rig.message(id="b", delay=_LATE))
        found = await rig.driver.find(rig.queue, ["a"])
        assert [(each.id, each.body) for each in found] == [("a", body) for body in bodies]

    @case("find", "ordering_key")
    async def test_51_a_message_behind_its_key_too(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        await rig.publish(*(rig.message(id=f"{number}", key="k") for number in range(3)))
        got = await rig.one()
        found = await rig.driver.find(rig.queue, ["0", "1", "2"])
        assert [each.id for each in found] == ["1", "2"]
        await rig.ack(got)
        assert await rig.drain(expected=2) == ["1", "2"]

    @case("find", "lanes")
    async def test_51_messages_in_lanes_too(self, rig: Rig) -> None:
        await rig.declare(fair=1)
        await rig.publish(*(rig.message(id=f"{lane}{number}", lane=lane) for number in range(2) for lane in "ab"))
        found = await rig.driver.find(rig.queue, ["a1", "b0"])
        assert [each.id for each in found] == ["b0", "a1"]

    @case("find")
    async def test_51_some_among_many(self, rig: Rig) -> None:
        """A search that takes several steps."""
        published = await rig.publish(*rig.messages(3000))
        wanted = published[::500]
        assert [each.id for each in await rig.driver.find(rig.queue, wanted)] == wanted

    @case("locate")
    async def test_59_a_message_is_located_wherever_it_is(self, rig: Rig) -> None:
        await rig.publish(*(rig.message(id=id) for id in ("a", "b", "ä")))
        asked = ["a", "ä", "there is none", "", "\ud800", "\0"]
        assert await rig.driver.locate(rig.queue, asked) == {"a": "ready", "ä": "ready"}
        got = await rig.one()
        assert await rig.driver.locate(rig.queue, asked) == {"a": "held", "ä": "ready"}
        await rig.ack(got)
        assert await rig.driver.locate(rig.queue, asked) == {"ä": "ready"}
        assert await rig.driver.locate(rig.queue, []) == {}
        assert [(each.id, each.attempt) for each in await rig.take(2)] == [("b", 1), ("ä", 1)]

    @case("locate", "native_delay")
    async def test_59_a_delayed_message_is_told_apart(self, rig: Rig) -> None:
        await rig.publish(rig.message(id="later", delay=_LATE), rig.message(id="now"))
        assert await rig.driver.locate(rig.queue, ["now", "later"]) == {"now": "ready", "later": "delayed"}
        got = await rig.one()
        await rig.driver.settle(rig.queue, [Nack(got.receipt, delay=_LATE)])
        assert await rig.driver.locate(rig.queue, ["now", "later"]) == {"now": "delayed", "later": "delayed"}
        await rig.publish(rig.message(id="now", deduplicate=False))
        assert await rig.driver.locate(rig.queue, ["now"]) == {"now": "ready"}
        await rig.one()
        assert await rig.driver.locate(rig.queue, ["now"]) == {"now": "held"}

    @case("locate", "ordering_key")
    async def test_59_a_message_behind_its_key_is_ready(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        await rig.publish(*(rig.message(id=f"{number}", key="k") for number in range(2)))
        await rig.one()
        assert await rig.driver.locate(rig.queue, ["0", "1"]) == {"0": "held", "1": "ready"}

    @case("locate", "lanes")
    async def test_59_messages_in_lanes_are_located(self, rig: Rig) -> None:
        await rig.declare(fair=1)
        await rig.publish(*(rig.message(id=f"{lane}{number}", lane=lane) for number in range(2) for lane in "ab"))
        got = await rig.one()
        where = await rig.driver.locate(rig.queue, ["a0", "a1", "b0", "b1"])
        assert where.pop(got.id) == "held"
        assert sorted(where.values()) == ["ready"] * 3

    @case("locate")
    async def test_59_one_among_many_is_located(self, rig: Rig) -> None:
        published = await rig.publish(*rig.messages(3000))
        wanted = published[2999::-500]
        assert await rig.driver.locate(rig.queue, wanted) == dict.fromkeys(wanted, "ready")

    @case("peek", "ordering_key", "native_delay")
    async def test_24_a_peek_begins_at_any_number(self, rig: Rig) -> None:
        """Also among the messages behind their key, and the delayed ones."""
        await rig.declare(ordering="key")
        await rig.publish(*rig.messages(300))
        await rig.publish(*rig.messages(10, key="k"))
        await rig.publish(*rig.messages(10, delay=_LATE))
        whole = [message.id for message in await rig.driver.peek(rig.queue, 1000)]
        assert sorted(whole) == [f"{number:04d}" for number in range(320)]
        for after in (0, 1, 99, 102, 150, 297, 300, 301, 305, 309, 310, 313, 319, 320, 400):
            shown = await rig.driver.peek(rig.queue, 7, after)
            assert [message.id for message in shown] == whole[after : after + 7], after
