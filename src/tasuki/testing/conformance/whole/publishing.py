"""Cases of what a queue does above its driver when messages are published and verified."""

from __future__ import annotations

import asyncio

from tasuki.errors import QueueFullError
from tasuki.message import DEAD_LETTER_REASON
from tasuki.queues.messages.signature import Signing
from tasuki.queues.result import Confirmed, Rejected
from tasuki.testing.conformance.rig import Rig, Suite, case
from tasuki.testing.conformance.whole.line import Line, recorder


class Publishing(Suite):
    """Full queues, and signatures."""

    @case("max_length")
    async def test_a_full_queue_is_waited_for(self, rig: Rig) -> None:
        line = await Line(rig, spec={"max_length": 2}).open()
        await line.queue.publish_many([0, 1])
        late = asyncio.create_task(line.queue.publish_many([2, 3], publish_timeout=rig.suite.patience * 4))
        await asyncio.sleep(0.1)
        assert not late.done()
        bodies = []
        for _ in range(4):
            (received,) = await rig.take()
            bodies.append(line.queue.decode(received))
            await rig.ack(received)
        assert [type(result) for result in await late] == [Confirmed, Confirmed]
        assert sorted(bodies) == [0, 1, 2, 3]

    @case("max_length")
    async def test_a_full_queue_rejects_at_once_where_that_is_wanted(self, rig: Rig) -> None:
        line = await Line(rig, spec={"max_length": 1}, overflow="reject").open()
        first, second = await line.queue.publish_many([0, 1])
        assert isinstance(first, Confirmed)
        assert isinstance(second, Rejected)
        assert isinstance(second.error, QueueFullError)
        assert second.retryable

    @case()
    async def test_a_forged_message_is_not_handled(self, rig: Rig) -> None:
        line = await Line(rig, signing=Signing({"key": b"0123456789abcdef"})).open()
        seen, handle = recorder()
        await rig.publish(rig.message(b'"forged"'))
        await line.queue.publish("good")
        async with line.consumer(handle):
            (letter,) = await rig.take(queue=rig.other)
            await line.until(lambda: seen)
        assert letter.body == b'"forged"'
        assert letter.headers[DEAD_LETTER_REASON] == "unsigned"
        assert seen == ["good"]
