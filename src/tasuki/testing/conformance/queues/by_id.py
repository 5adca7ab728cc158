"""Clauses 17, 24, 27, 37, 49, 51, 57 and 59: waiting messages are found, located, removed or made due by their ids."""

from __future__ import annotations

from tasuki.contracts.driver import Limit, Nack, Release, place_of
from tasuki.errors import QueueFullError, QueueNotFoundError
from tasuki.message import LAST_ERROR
from tasuki.testing.conformance.queues.limits import limited
from tasuki.testing.conformance.rig import FAR, Rig, Suite, case, ids, raises, verbs


class ById(Suite):
    """A search shows the named messages, a removal takes them, and an end of their delays makes them ready."""

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
        if rig.driver.capabilities.has("keeps_errors"):
            assert found[0].headers[LAST_ERROR] == "it broke"
            assert LAST_ERROR not in found[1].headers

    @case("find")
    async def test_51_each_message_of_an_id_wherever_it_waits(self, rig: Rig) -> None:
        bodies = [b"0", b"1", b"2"]
        messages = [
            rig.message(body, id="a", deduplicate=False, delay=FAR * number) for number, body in enumerate(bodies)
        ]
        await rig.publish(*messages, rig.message(id="b", delay=FAR))
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

    @case("find", "limits")
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

    @case("locate")
    async def test_59_a_delayed_message_is_told_apart(self, rig: Rig) -> None:
        await rig.publish(rig.message(id="later", delay=FAR), rig.message(id="now"))
        assert await rig.driver.locate(rig.queue, ["now", "later"]) == {"now": "ready", "later": "delayed"}
        got = await rig.one()
        await rig.driver.settle(rig.queue, [Nack(got.receipt, delay=FAR)])
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

    @case("locate", "limits")
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

    @case("peek", "ordering_key")
    async def test_24_a_peek_begins_at_any_number(self, rig: Rig) -> None:
        """Also among the messages behind their key, and the delayed ones."""
        await rig.declare(ordering="key")
        await rig.publish(*rig.messages(300))
        await rig.publish(*rig.messages(10, key="k"))
        await rig.publish(*rig.messages(10, delay=FAR))
        whole = [message.id for message in await rig.driver.peek(rig.queue, 1000)]
        assert sorted(whole) == [f"{number:04d}" for number in range(320)]
        for after in (0, 1, 99, 102, 150, 297, 300, 301, 305, 309, 310, 313, 319, 320, 400):
            shown = await rig.driver.peek(rig.queue, 7, after)
            assert [message.id for message in shown] == whole[after : after + 7], after

    @case()
    async def test_27_a_deleted_queue_is_gone_with_all_that_it_held(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(3))
        await rig.one()
        await rig.driver.delete(rig.queue)
        for verb in verbs(rig, rig.queue):
            await raises(QueueNotFoundError, rig, verb)
        await rig.declare()
        await rig.nothing()
        await rig.publish(rig.message(id="new"))
        got = await rig.one()
        assert (got.id, got.attempt) == ("new", 1)
        await rig.ack(got)
        await rig.counts(0, 0, 0)

    @case()
    async def test_17_a_close_releases_the_rest_where_a_queue_was_deleted(self, rig: Rig) -> None:
        lease = 600.0  # so that no message comes back by the end of its lease
        remover = await rig.elsewhere(lease=lease)
        await remover.declare(rig.spec(name=rig.other, lease=lease))
        await rig.driver.inspect(rig.spec(name=rig.other, lease=lease))
        await rig.driver.declare(rig.spec(lease=lease))
        for queue in (rig.other, rig.queue):
            published = await rig.publish(rig.message(), queue=queue)
            await rig.take(queue=queue)
        await remover.delete(rig.other)
        await rig.driver.close()
        await rig.driver.open()
        assert ids(await rig.take()) == published

    @case("remove")
    async def test_37_remove_takes_what_it_names(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(10))
        assert await rig.driver.remove(rig.queue, ["0003", "0007", "there is none", ""]) == 2
        assert await rig.driver.remove(rig.queue, ["0003"]) == 0
        assert await rig.driver.remove(rig.queue, []) == 0
        await rig.counts(8, 0, 0)
        assert sorted(await rig.drain()) == [f"{number:04d}" for number in range(10) if number not in (3, 7)]

    @case("remove")
    async def test_37_all_messages_of_an_id_go(self, rig: Rig) -> None:
        await rig.publish(*(rig.message(id=id, deduplicate=False) for id in ("a", "b", "a", "ä")))
        assert await rig.driver.remove(rig.queue, ["a", "ä"]) == 3
        assert await rig.drain() == ["b"]

    @case("remove", "peek")
    async def test_57_remove_takes_the_messages_at_the_places(self, rig: Rig) -> None:
        """One of an id goes alone, and the others stay."""
        bodies = (b"1", b"2", b"3")
        await rig.publish(*(rig.message(body, id="a", deduplicate=False) for body in bodies), rig.message(id="b"))
        first, second, third, other = [place_of(each) for each in await rig.driver.peek(rig.queue, 10)]
        assert await rig.driver.remove(rig.queue, ["a"], [other, "no", ""]) == 0
        assert await rig.driver.remove(rig.queue, ["a", "b"], [second]) == 1
        assert await rig.driver.remove(rig.queue, ["a"], [second]) == 0
        assert [each.body for each in await rig.driver.peek(rig.queue, 10)] == [b"1", b"3", b"body"]
        held = await rig.one()
        assert await rig.driver.remove(rig.queue, [held.id], [first, third]) == 1
        await rig.ack(held)
        assert await rig.drain() == ["b"]

    @case("remove")
    async def test_37_a_held_message_stays(self, rig: Rig) -> None:
        held = await rig.publish(rig.message())
        got = await rig.one()
        rest = await rig.publish(*rig.messages(3))
        assert await rig.driver.remove(rig.queue, held + rest[:1]) == 1
        await rig.driver.settle(rig.queue, [Nack(got.receipt)])
        await rig.only(*(held + rest[1:]))

    @case("remove", "native_priority")
    async def test_37_delayed_and_urgent_messages_go_too(self, rig: Rig) -> None:
        await rig.declare(priorities=True)
        await rig.publish(rig.message(id="late", delay=rig.long), rig.message(id="urgent", priority=9))
        await rig.publish(rig.message(id="left", delay=rig.long), rig.message(id="now"))
        assert await rig.driver.remove(rig.queue, ["late", "urgent"]) == 2
        await rig.counts(1, 0, 1)
        await rig.advance(rig.long * 1.2)
        assert sorted(await rig.drain()) == ["left", "now"]

    @case("remove", "ordering_key")
    async def test_37_the_next_of_a_key_moves_up(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        await rig.publish(*(rig.message(id=f"{key}{number}", key=key) for number in range(3) for key in "ab"))
        assert await rig.driver.remove(rig.queue, ["a0", "b1"]) == 2
        for expected in ("a1", "b0"), ("a2", "b2"):
            await rig.ack(*await rig.only(*expected))
        await rig.nothing()

    @case("remove", "ordering_key")
    async def test_37_behind_a_held_one_of_its_key(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        await rig.publish(*(rig.message(id=f"{number}", key="k") for number in range(4)))
        got = await rig.one()
        assert await rig.driver.remove(rig.queue, ["0", "1", "2"]) == 2
        await rig.nothing()
        await rig.ack(got)
        assert await rig.drain() == ["3"]

    @case("remove", "dedup")
    async def test_37_an_id_stays_known(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window)
        await rig.publish(rig.message(id="once"))
        assert await rig.driver.remove(rig.queue, ["once"]) == 1
        await rig.publish(rig.message(id="once"))
        await rig.nothing()

    @case("remove", "max_length")
    async def test_37_a_removal_makes_room(self, rig: Rig) -> None:
        await rig.declare(max_length=2)
        first, second = await rig.publish(*rig.messages(2))
        assert isinstance((await rig.results(rig.message()))[0], QueueFullError)
        assert await rig.driver.remove(rig.queue, [first]) == 1
        third = await rig.publish(rig.message())
        assert sorted(await rig.drain()) == sorted([second, *third])

    @case("remove")
    async def test_37_one_among_many(self, rig: Rig) -> None:
        """A search that takes several steps."""
        published = await rig.publish(*rig.messages(1000))
        wanted = published[::100]
        assert await rig.driver.remove(rig.queue, wanted) == len(wanted)
        assert sorted(await rig.drain(expected=990)) == sorted(set(published) - set(wanted))

    @case("expedite")
    async def test_49_a_delay_ends(self, rig: Rig) -> None:
        await rig.publish(*(rig.message(id=id, delay=FAR) for id in ("a", "b", "ä", "d")))
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
        assert await rig.driver.settle(rig.queue, [Release(got.receipt, FAR)]) == []
        await rig.only("ready")
        assert await rig.driver.expedite(rig.queue, ["held"]) == 1
        assert ids(await rig.take()) == ["held"]

    @case("expedite")
    async def test_49_attempts_and_places_are_kept(self, rig: Rig) -> None:
        await rig.publish(rig.message(id="a"), rig.message(id="b"))
        first, second = await rig.take(2)
        await rig.driver.settle(rig.queue, [Nack(first.receipt, FAR), Release(second.receipt, FAR)])
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
            rig.message(id="a0", key="a", delay=FAR), rig.message(id="a1", key="a", delay=FAR),
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
        await rig.publish(rig.message(id="a", delay=FAR))
        other = await rig.elsewhere()
        await other.declare(rig.spec())
        got = await rig.woken(lambda: other.expedite(rig.queue, ["a"]))
        assert got.id == "a"

    @case("expedite")
    async def test_49_some_among_many(self, rig: Rig) -> None:
        """A search that takes several steps."""
        published = await rig.publish(*(rig.message(id=f"{number:04d}", delay=FAR) for number in range(_MANY)))
        wanted = published[::100]
        assert await rig.driver.expedite(rig.queue, wanted) == len(wanted)
        assert sorted(await rig.drain(expected=len(wanted))) == sorted(wanted)

    @case("expedite", "limits")
    async def test_49_a_message_is_in_its_lane_again(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=Limit(concurrency=1))
        late = [rig.message(id=f"{lane}late", lane=lane, delay=FAR) for lane in "ab"]
        await rig.publish(*late, rig.message(id="a0", lane="a"))
        (held,) = await rig.only("a0")
        assert await rig.driver.expedite(rig.queue, ["alate", "blate"]) == 2
        got = await rig.one()
        assert got.id == "blate", "the lane a is full"
        await rig.nothing()
        await rig.ack(held)
        assert (await rig.one()).id == "alate"

    @case("expedite", "limits")
    async def test_49_a_receive_that_waits_at_lanes_is_woken(self, rig: Rig) -> None:
        await limited(rig, fair=1)
        await rig.publish(rig.message(id="a", lane="a", delay=FAR))
        got = await rig.woken(lambda: rig.driver.expedite(rig.queue, ["a"]))
        assert got.id == "a"


_MANY = 1000
