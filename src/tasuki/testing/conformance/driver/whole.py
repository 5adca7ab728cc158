"""Cases of the whole way: publishing, handlers, retries and dead letters over the driver, as an application does."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from itertools import pairwise
from typing import Any

from tasuki.consumers.batch import Batching
from tasuki.contracts.driver import Ack
from tasuki.contracts.handler import Context, Reject, Retry
from tasuki.errors import HandlerError, QueueFullError, RequestTimeoutError, StopTimeoutError
from tasuki.message import ATTEMPTS, DEAD_LETTER_REASON, DEAD_LETTER_TIME, EXPIRES_AT, LAST_ERROR, ORIGINAL_QUEUE
from tasuki.queues.dead_letter import redriven
from tasuki.queues.messages.signature import Signing
from tasuki.queues.result import Confirmed, Rejected
from tasuki.testing.conformance.driver.stress import Line, recorder
from tasuki.testing.conformance.killed import killed
from tasuki.testing.conformance.rig import Rig, Suite, case, has

_SLACK = 10.0
"""Seconds that a loaded machine may add to a delay; early is never right."""


class Whole(Suite):
    """The same application on every driver ends in the same way."""

    @case()
    async def test_what_always_fails_is_tried_five_times_and_dead_lettered(self, rig: Rig) -> None:
        line = await Line(rig).open()
        seen: list[tuple[int, float]] = []

        async def fail(body: Any, context: Context) -> None:
            seen.append((context.attempt, time.monotonic()))
            raise ValueError("never")

        confirmed = await line.queue.publish({"n": 1}, {"h": 1.5})
        async with line.consumer(fail):
            await line.until(lambda: len(seen) == 5, patience=6)
            (letter,) = await rig.take(queue=rig.other)
        assert [attempt for attempt, _ in seen] == [1, 2, 3, 4, 5]
        for number, ((_, before), (_, after)) in enumerate(pairwise(seen), 1):
            wanted = line.queue.policy.retry.delay(number)
            assert wanted <= after - before + 0.02
            assert after - before <= wanted * 1.2 + rig.suite.delay_grain + _SLACK
        assert (letter.id, line.queue.decode(letter)) == (confirmed.id, {"n": 1})
        headers = letter.headers
        assert (headers[ORIGINAL_QUEUE], headers[DEAD_LETTER_REASON], headers[ATTEMPTS]) == (
            "app:tasks",
            "max_attempts",
            5,
        )
        assert headers["h"] == 1.5
        assert "never" in str(headers[LAST_ERROR])
        assert abs(float(headers[DEAD_LETTER_TIME]) - time.time()) < 60
        await rig.nothing()

    @case()
    async def test_a_redriven_dead_letter_starts_anew(self, rig: Rig) -> None:
        line = await Line(rig, max_attempts=1).open()
        seen: list[tuple[Any, int]] = []

        async def handle(body: Any, context: Context) -> None:
            seen.append((body, context.attempt))
            if len(seen) == 1:
                raise Reject("not yet")

        confirmed = await line.queue.publish("again", {"h": True})
        async with line.consumer(handle):
            (letter,) = await rig.take(queue=rig.other)
            assert letter.headers[DEAD_LETTER_REASON] == "rejected"
            assert await line.queue.forward([redriven(letter)]) == [None]
            await rig.ack(letter, queue=rig.other)
            await line.until(lambda: len(seen) == 2)
        assert seen == [("again", 1), ("again", 1)]
        assert letter.id == confirmed.id
        await rig.nothing()
        await rig.nothing(queue=rig.other)

    @case()
    async def test_each_outcome_ends_as_it_says(self, rig: Rig) -> None:
        line = await Line(rig, max_attempts=2).open()
        seen: Counter[str] = Counter()

        async def handle(body: str, context: Context) -> Any:
            seen[body] += 1
            match body:
                case "false":
                    return False
                case "raise":
                    raise RuntimeError(body)
                case "retry":
                    raise Retry(after=0.01)
                case "reject":
                    raise Reject("no")
                case "acked":
                    context.ack()
                    raise RuntimeError("too late")
            return body

        await line.publish("value", "false", "raise", "retry", "reject", "acked")
        async with line.consumer(handle, concurrency=3):
            letters = await rig.take(4, queue=rig.other)
        found = {line.queue.decode(letter): letter.headers[DEAD_LETTER_REASON] for letter in letters}
        assert found == {
            "false": "max_attempts",
            "raise": "max_attempts",
            "retry": "max_attempts",
            "reject": "rejected",
        }
        assert seen == {"value": 1, "acked": 1, "false": 2, "raise": 2, "retry": 2, "reject": 1}
        await rig.nothing()

    @case()
    async def test_what_cannot_be_decoded_is_dead_lettered_as_it_is(self, rig: Rig) -> None:
        line = await Line(rig).open()
        seen, handle = recorder()
        bad = [b"", b"{", b"\xff\xfe", b'{"a": 1} tail', b"[" * 2000]
        await rig.publish(*(rig.message(body) for body in bad))
        await line.queue.publish("good")
        async with line.consumer(handle):
            letters = await rig.take(len(bad), queue=rig.other)
            await line.until(lambda: seen)
        assert sorted(letter.body for letter in letters) == sorted(bad)
        assert {letter.headers[DEAD_LETTER_REASON] for letter in letters} == {"undecodable"}
        assert seen == ["good"]

    @case()
    async def test_what_has_expired_is_dead_lettered(self, rig: Rig) -> None:
        line = await Line(rig).open()
        seen, handle = recorder()
        late = await line.queue.publish("late", ttl=0.001)
        await line.queue.publish("fresh", ttl=3600)
        await asyncio.sleep(0.01)
        async with line.consumer(handle):
            (letter,) = await rig.take(queue=rig.other)
            await line.until(lambda: seen)
        assert (letter.id, letter.headers[DEAD_LETTER_REASON]) == (late.id, "expired")
        assert EXPIRES_AT not in letter.headers
        assert seen == ["fresh"]

    @case()
    async def test_auto_ack_settles_before_the_handler(self, rig: Rig) -> None:
        line = await Line(rig).open()
        seen: list[Any] = []

        async def handle(body: Any, context: Context) -> None:
            seen.append(body)
            raise RuntimeError("lost by contract")

        await line.publish(*range(20))
        async with line.consumer(handle, concurrency=4, auto_ack=True):
            await line.until(lambda: len(seen) == 20)
        assert sorted(seen) == list(range(20))
        await rig.nothing()
        await rig.nothing(queue=rig.other)

    @case()
    async def test_concurrency_is_reached_and_prefetch_is_kept(self, rig: Rig) -> None:
        line = await Line(rig).open()
        release = asyncio.Event()
        running: list[int] = []

        async def handle(body: int, context: Context) -> None:
            running.append(body)
            await release.wait()

        await line.publish(*range(40))
        async with line.consumer(handle, concurrency=4, prefetch=10) as consumer:
            await line.until(lambda: len(running) == 4 and consumer.now.held == 10)
            # The rest is for others.
            other = await rig.elsewhere()
            rest = await rig.take(30, driver=other)
            assert await other.receive(rig.queue, 10, rig.suite.brief) == []
            assert len(running) == 4
            await other.settle(rig.queue, [Ack(received.receipt) for received in rest])
            release.set()
            await line.until(lambda: len(running) == 10)
        await rig.nothing()

    @case()
    async def test_a_stop_hands_back_what_has_not_started(self, rig: Rig) -> None:
        line = await Line(rig).open()
        started: list[int] = []
        release = asyncio.Event()

        async def handle(body: int, context: Context) -> None:
            started.append(body)
            await release.wait()

        await line.publish(*range(20))
        async with line.consumer(handle, concurrency=1, prefetch=20) as consumer:
            await line.until(lambda: started and consumer.now.held == 20)
            stopping = asyncio.create_task(consumer.stop(5.0))
            rest = await rig.take(19, driver=await rig.elsewhere())
            assert {received.attempt for received in rest} == {1}
            release.set()
            await stopping
        assert started == [0] or not has(rig.driver, "ordered")
        assert len(started) == 1

    @case()
    async def test_a_stop_that_is_overdue_hands_back_what_runs(self, rig: Rig) -> None:
        line = await Line(rig).open()
        started: list[int] = []

        async def handle(body: int, context: Context) -> None:
            started.append(context.attempt)
            await asyncio.Event().wait()

        await line.queue.publish(1)
        async with line.consumer(handle) as consumer:
            await line.until(lambda: started)
            try:
                await consumer.stop(0.1)
            except StopTimeoutError:
                pass
            else:
                raise AssertionError("a stop that cut off a handler says so")
        assert (await rig.one()).attempt == 1

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

    @case("multi_process")
    async def test_messages_that_may_have_killed_their_worker_share_no_batch(self, rig: Rig) -> None:
        line = await Line(rig, spec={"lease": 3.0}).open()
        await line.publish(*range(3))
        await killed(rig, line.queue.spec, 3)
        batches: list[list[int]] = []

        async def handle(bodies: list[int], context: Context) -> None:
            batches.append(bodies)

        async with line.consumer(handle, prefetch=12, batch=Batching(6, rig.suite.brief)) as consumer:
            await line.until(lambda: consumer.metrics.acked == 3 and consumer.now.held == 0, patience=6)
        assert sorted(batches) == [[0], [1], [2]]
        await rig.nothing()

    @case()
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

    @case()
    async def test_each_request_gets_its_own_result(self, rig: Rig) -> None:
        line = await Line(rig).open()

        async def handle(body: Any, context: Context) -> Any:
            await asyncio.sleep(0.001 * (body["n"] % 3))
            return {"got": body, "none": None, "list": [], "object": {}}

        async with line.asking() as ask, line.consumer(handle, concurrency=5):
            results = await asyncio.gather(*(ask({"n": number}) for number in range(20)))
        assert results == [{"got": {"n": n}, "none": None, "list": [], "object": {}} for n in range(20)]
        await rig.nothing()

    @case()
    async def test_a_request_that_is_given_up_gets_the_error(self, rig: Rig) -> None:
        line = await Line(rig, max_attempts=2).open()

        async def fail(body: Any, context: Context) -> Any:
            raise HandlerError("no such customer", kind="NotFound", retryable=True)

        told: HandlerError | None = None
        try:
            async with line.asking() as ask, line.consumer(fail):
                await ask(1)
        except HandlerError as error:
            told = error
        assert told is not None, "HandlerError expected"
        assert (told.message, told.kind, told.retryable) == ("no such customer", "NotFound", True)
        assert len(await rig.take(queue=rig.other)) == 1

    @case()
    async def test_a_request_that_nobody_handles_times_out(self, rig: Rig) -> None:
        line = await Line(rig).open()
        try:
            async with line.asking() as ask:
                await ask(1, timeout=rig.suite.brief * 4)
        except RequestTimeoutError:
            pass
        else:
            raise AssertionError("RequestTimeoutError expected")

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


_LONG = 60.0
