"""Cases of consumers with batches: what a batch holds, and that each of its messages ends by itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tasuki.consumers.batches.cutting import Batching
from tasuki.contracts.handler import Context, Reject
from tasuki.message import DEAD_LETTER_REASON
from tasuki.testing.conformance.killed import Holder
from tasuki.testing.conformance.rig import Rig, Suite, case
from tasuki.testing.conformance.whole.line import Line

_LONG = 60.0


class Batches(Suite):
    """A batch handler ends in the same way on every driver."""

    @case()
    async def test_each_message_of_a_batch_ends_by_its_own_result(self, rig: Rig) -> None:
        line = await Line(rig, max_attempts=2).open()
        batches: list[list[str]] = []
        outcomes: dict[str, Any] = {"false": False, "error": ValueError("no"), "reject": Reject("no")}

        async def handle(bodies: list[str], context: Context) -> list[Any]:
            batches.append(bodies)
            if "acked" in bodies:
                context.batch[bodies.index("acked")].ack()
            return [outcomes.get(body) for body in bodies]

        names = ["value", "false", "error", "reject", "acked", "other"]
        await line.publish(*names)
        async with line.consumer(handle, prefetch=12, batch=Batching(6, rig.suite.patience)) as consumer:
            await line.until(lambda: sum(map(len, batches)) == 8 and consumer.now.held == 0, patience=6)
            letters = await rig.take(3, queue=rig.other)
        assert sorted(batches[0]) == sorted(names)
        assert Counter(name for batch in batches for name in batch) == Counter([*names, "false", "error"])
        found = {line.queue.decode(letter): letter.headers[DEAD_LETTER_REASON] for letter in letters}
        assert found == {"false": "max_attempts", "error": "max_attempts", "reject": "rejected"}
        await rig.nothing()

    @case("ordering_key")
    async def test_a_batch_has_no_two_messages_of_one_key(self, rig: Rig) -> None:
        line = await Line(rig, spec={"ordering": "key"}).open()
        batches: list[list[str]] = []

        async def handle(bodies: list[str], context: Context) -> None:
            batches.append(bodies)

        for number in range(3):
            for key in "ab":
                await line.queue.publish(f"{key}{number}", key=key)
        async with line.consumer(handle, prefetch=12, batch=Batching(6, rig.suite.brief)) as consumer:
            await line.until(lambda: consumer.metrics.acked == 6 and consumer.now.held == 0, patience=6)
        assert all(len({body[0] for body in batch}) == len(batch) for batch in batches)
        for key in "ab":
            assert [body for batch in batches for body in batch if body[0] == key] == [f"{key}{n}" for n in range(3)]

    @case("multi_process", "counts_attempts")
    async def test_messages_that_may_have_killed_their_worker_share_no_batch(self, rig: Rig) -> None:
        line = await Line(rig, spec={"lease": 3.0}).open()
        await line.publish(*range(3))
        async with Holder(rig.suite, rig.place, line.queue.spec, 3) as holder:
            holder.kill()
        batches: list[list[int]] = []

        async def handle(bodies: list[int], context: Context) -> None:
            batches.append(bodies)

        async with line.consumer(handle, prefetch=12, batch=Batching(6, rig.suite.brief)) as consumer:
            await line.until(lambda: consumer.metrics.acked == 3 and consumer.now.held == 0, patience=6)
        assert sorted(batches) == [[0], [1], [2]]
        await rig.nothing()

    @case("counts_attempts")
    async def test_a_stop_releases_messages_that_wait_for_a_batch(self, rig: Rig) -> None:
        line = await Line(rig).open()
        await line.publish(*range(3))
        batches: list[list[int]] = []

        async def handle(bodies: list[int], context: Context) -> None:
            batches.append(bodies)

        async with line.consumer(handle, prefetch=12, batch=Batching(6, _LONG)) as consumer:
            await line.until(lambda: consumer.now.held == 3)
        got = await rig.take(3)
        assert (batches, {received.attempt for received in got}) == ([], {1})
