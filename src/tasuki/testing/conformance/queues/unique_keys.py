"""Clauses 39 to 41: messages that are unique by a key."""

from __future__ import annotations

from tasuki.contracts.driver import Ack, Merged, Move, Nack, Release, Span
from tasuki.errors import QueueFullError
from tasuki.testing.conformance.killed import Holder
from tasuki.testing.conformance.queues.uniques import kept, span_of, spans_of, told, unique
from tasuki.testing.conformance.rig import Rig, Suite, case, ids


class UniqueKeys(Suite):
    """Cases: until when a message has its key."""

    @case("unique:pending")
    async def test_41_a_failed_message_has_its_key_again(self, rig: Rig) -> None:
        await told(rig, unique(rig, "a"))
        for settlement in (Nack, Release):
            got = await rig.one()
            await rig.driver.settle(rig.queue, [settlement(got.receipt)])
            assert await told(rig, unique(rig, "b")) == [kept("a")]
        got = await rig.one()
        await told(rig, unique(rig, "c"))
        await rig.driver.settle(rig.queue, [Nack(got.receipt)])
        assert await told(rig, unique(rig, "d")) == [kept("c")], "the newer one has the key"
        assert sorted(await rig.drain(expected=2)) == ["a", "c"]
        assert await told(rig, unique(rig, "e")) == [None]

    @case("unique:pending", "counts_attempts", "leases")
    async def test_41_a_message_of_an_ended_lease_has_its_key_again(self, rig: Rig) -> None:
        await told(rig, unique(rig, "a"))
        await rig.one()
        await rig.advance(rig.long * 1.2)
        got = await rig.one()
        assert got.id == "a"
        await rig.driver.settle(rig.queue, [Release(got.receipt)])
        assert await told(rig, unique(rig, "b")) == [kept("a")]

    @case("unique:replace", "leases")
    async def test_41_a_late_settlement_leaves_the_message_that_replaced_its_own(self, rig: Rig) -> None:
        await told(rig, unique(rig, "a"))
        late = await rig.one()
        await rig.advance(rig.long * 1.2)
        back = await rig.one()
        await rig.driver.settle(rig.queue, [Release(back.receipt)])
        assert await told(rig, unique(rig, "b", act="replace")) == [Merged("replaced", "a")]
        for receipt in (late.receipt, back.receipt):
            assert list(await rig.driver.settle(rig.queue, [Ack(receipt)])) == [receipt]
        assert ids(await rig.take()) == ["b"]

    @case("unique:running", "native_delay")
    async def test_41_a_hidden_message_has_its_key_until_it_is_done(self, rig: Rig) -> None:
        await told(rig, unique(rig, "a", span="running", delay=rig.long))
        for settlement in (Nack, Release, None):
            assert await told(rig, unique(rig, "b", span="running")) == [kept("a")]
            await rig.nothing()
            await rig.advance(rig.long * 1.1)
            got = await rig.one()
            assert got.id == "a"
            await rig.driver.settle(rig.queue, [settlement(got.receipt, rig.long) if settlement else Ack(got.receipt)])
        assert await told(rig, unique(rig, "c", span="running"), unique(rig, "d", span="running")) == [None, kept("c")]
        assert ids(await rig.take()) == ["c"]
        await rig.nothing()

    @case("unique:running", "dedup")
    async def test_41_a_known_id_is_not_kept_out(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window)
        await told(rig, unique(rig, "a", span="running"))
        assert await told(rig, unique(rig, "b", span="running")) == [kept("a")]
        assert await rig.drain(expected=1) == ["a"]
        assert await told(rig, unique(rig, "a", span="running")) == [None]
        assert await told(rig, unique(rig, "b", span="running")) == [None], "a kept message is not remembered"
        assert await rig.drain(expected=1) == ["b"]

    @case("unique:running", "multi_process", "leases")
    async def test_41_a_killed_holder_frees_no_key(self, rig: Rig) -> None:
        lease = 2.0
        await rig.declare(lease=lease)
        await told(rig, unique(rig, "a", span="running"))
        async with Holder(rig.suite, rig.place, rig.spec(lease=lease), 1) as holder:
            holder.kill()
        assert await told(rig, unique(rig, "b", span="running")) == [kept("a")]
        got = await rig.one()
        assert (got.id, got.suspect) == ("a", True)
        await rig.ack(got)
        assert await told(rig, unique(rig, "c", span="running")) == [None]

    @case("unique", "purge")
    async def test_41_purge_frees_keys(self, rig: Rig) -> None:
        span: Span = "running" if "running" in rig.driver.capabilities.unique else "pending"
        await told(rig, unique(rig, "a", span=span), unique(rig, "b", "held", span))
        await rig.driver.purge(rig.queue)
        assert await told(rig, unique(rig, "c", span=span)) == [None]
        assert ids(await rig.take()) == ["c"]

    @case("unique:running", "purge")
    async def test_41_purge_leaves_held_keys(self, rig: Rig) -> None:
        await told(rig, unique(rig, "a", span="running"))
        got = await rig.one()
        await rig.driver.purge(rig.queue)
        assert await told(rig, unique(rig, "b", span="running")) == [kept("a")]
        await rig.ack(got)
        assert await told(rig, unique(rig, "c", span="running")) == [None]

    @case("unique:pending", "remove")
    async def test_41_a_removed_message_frees_its_key(self, rig: Rig) -> None:
        await told(rig, unique(rig, "a"), unique(rig, "b", "other"))
        assert await rig.driver.remove(rig.queue, ["a"]) == 1
        assert await told(rig, unique(rig, "c"), unique(rig, "d", "other")) == [None, kept("b")]
        assert sorted(await rig.drain(expected=2)) == ["b", "c"]

    @case("unique", "delete")
    async def test_41_a_deleted_queue_has_no_keys(self, rig: Rig) -> None:
        for span in spans_of(rig):
            await told(rig, unique(rig, "a", f"{span}", span))
        await rig.driver.delete(rig.queue)
        await rig.declare()
        for span in spans_of(rig):
            assert await told(rig, unique(rig, f"new {span}", f"{span}", span)) == [None]

    @case("unique:running")
    async def test_41_a_moved_message_frees_its_key(self, rig: Rig) -> None:
        await rig.declare(name=rig.other)
        await told(rig, unique(rig, "a", span="running"))
        got = await rig.one()
        letter = rig.message(id="a", deduplicate=False)
        assert not any(await rig.driver.move(rig.queue, [Move(got.receipt, rig.other, (letter,))]))
        assert await told(rig, unique(rig, "b", span="running")) == [None]
        await rig.publish(rig.message(id="a", deduplicate=False))  # a redrive stands beside it
        assert sorted(await rig.drain(expected=2)) == ["a", "b"]

    @case("unique", "max_length")
    async def test_41_a_rejected_message_takes_no_key(self, rig: Rig) -> None:
        span = span_of(rig)
        await rig.declare(max_length=2)
        await told(rig, unique(rig, "a", span=span), rig.message(id="x"))
        assert await told(rig, unique(rig, "b", span=span)) == [kept("a")], "a kept message needs no room"
        answers = await rig.results(unique(rig, "c", "new", span), unique(rig, "d", span=span))
        assert [type(answer) for answer in answers] == [QueueFullError] * 2
        await rig.drain(expected=2)
        assert await told(rig, unique(rig, "e", "new", span)) == [None]

    @case("unique:replace", "dedup")
    async def test_41_a_known_id_changes_nothing(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window)
        await told(rig, unique(rig, "a"))
        assert await told(rig, unique(rig, "b", act="replace")) == [Merged("replaced", "a")]
        assert await told(rig, unique(rig, "a", act="replace")) == [None]
        assert await told(rig, unique(rig, "c")) == [kept("b")]
        assert await rig.drain(expected=1) == ["b"]
        assert await told(rig, unique(rig, "b", act="replace"), unique(rig, "c")) == [None, None]
        assert await rig.drain(expected=1) == ["c"]

    @case("unique", "durable")
    async def test_41_keys_outlive_a_restart(self, rig: Rig) -> None:
        for span in spans_of(rig):
            await told(rig, unique(rig, f"{span}", f"{span}", span))
        await rig.driver.close()
        await rig.suite.restart(rig.place)
        await rig.driver.open()
        for span in spans_of(rig):
            assert await told(rig, unique(rig, "new", f"{span}", span)) == [kept(f"{span}")]
