"""Clauses 27 and 37: delete a queue, and remove messages by their ids; and 17 after a deletion."""

from __future__ import annotations

from tasuki.contracts.driver import Nack, place_of
from tasuki.errors import QueueFullError, QueueNotFoundError
from tasuki.testing.conformance.rig import Rig, Suite, case, ids
from tasuki.testing.conformance.verbs import raises, verbs


class Removing(Suite):
    """A removal takes the named queue or messages, and nothing else."""

    @case("delete")
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

    @case("delete")
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
        assert sorted(ids(await rig.take(3))) == sorted(held + rest[1:])
        await rig.nothing()

    @case("remove", "native_delay", "native_priority")
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
            got = await rig.take(2)
            assert sorted(ids(got)) == [*expected]
            await rig.nothing()
            await rig.ack(*got)
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
