"""What becomes of a message for each way in which its handler can end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tasuki.consumers.batch import Batching
from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.handling.suspects import SuspectGate
from tasuki.contracts.codec import Codec
from tasuki.contracts.driver import Outgoing
from tasuki.contracts.handler import Context, Reject, Retry, Snooze
from tasuki.errors import CodecError, HandlerError, InvalidBodyError
from tasuki.queues.messages.signature import Signing
from tests.unit.consumers.model import ModelBroker, ModelDriver
from tests.unit.consumers.parts import Bench, clock_of_loop, make_bench, now

pytestmark = pytest.mark.anyio

Handle = Callable[[Any, Context], Awaitable[Any]]


def returning(value: Any) -> Handle:
    async def run(body: Any, context: Context) -> Any:
        return value

    return run


def raising(error: BaseException) -> Handle:
    async def run(body: Any, context: Context) -> Any:
        raise error

    return run


def settling(verb: str, *args: Any, then: BaseException | None = None) -> Handle:
    async def run(body: Any, context: Context) -> Any:
        getattr(context, verb)(*args)
        if then is not None:
            raise then

    return run


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


async def one(run: Handle, **options: Any) -> Bench:
    """A bench that has handled one message once."""
    bench = await make_bench(run, **options)
    await bench.queue.publish("body", id="1")
    await bench.consumer.start()
    while not bench.handler.seen or bench.consumer.now.held:
        await asyncio.sleep(0.01)
    return bench


async def delay_of(bench: Bench) -> float:
    """Seconds until the one message comes again."""
    started = now()
    while len(bench.handler.seen) < 2:
        await asyncio.sleep(0.01)
    assert bench.handler.seen[1] == ("body", 2)
    return round(now() - started, 1)


@pytest.mark.parametrize("value", [None, True, 0, "", [], {"a": 1}, "error text"])
async def test_anything_but_false_acks(value: Any) -> None:
    bench = await one(returning(value))
    assert (await bench.queue.info())["message_count"] == 0
    assert (bench.consumer.metrics.acked, bench.consumer.metrics.failed) == (1, 0)
    await bench.consumer.stop(1)


@pytest.mark.parametrize(
    "run",
    [
        returning(False),
        raising(ValueError("boom")),
        raising(HandlerError("boom", traceback="tasks.lua:3: boom")),
        raising(Unprintable()),
        raising(SystemExit(1)),
        raising(KeyboardInterrupt()),
        raising(Retry()),
        raising(Retry("later", after="nonsense")),
        raising(Snooze("nonsense")),
        raising(Snooze("101d")),
        raising(Retry(after="101d")),
        raising(asyncio.CancelledError()),
        settling("nack"),
    ],
)
async def test_a_failure_comes_again_after_the_policys_delay(run: Handle) -> None:
    bench = await one(run)
    assert await delay_of(bench) == 1.0
    await bench.consumer.stop(1)
    assert bench.consumer.metrics.nacked == 2


@pytest.mark.parametrize("run", [raising(Snooze("30s")), raising(Snooze(30, "not open yet")), settling("snooze", 30)])
async def test_a_postponed_message_comes_again_as_if_for_the_first_time(run: Handle) -> None:
    bench = await one(run, max_attempts=1)
    started = now()
    while len(bench.handler.seen) < 3:
        await asyncio.sleep(0.01)
    assert bench.handler.seen == [("body", 1)] * 3
    assert round(now() - started, 1) == 60.0
    assert (bench.consumer.metrics.nacked, bench.consumer.metrics.failed) == (0, 0)
    assert await bench.dead_letters() == []
    await bench.consumer.stop(1)


@pytest.mark.parametrize(
    ("run", "error"),
    [
        (raising(Reject("bad")), "bad"),
        (raising(Reject(ValueError("bad"))), "bad"),  # type: ignore[arg-type]
        (raising(Reject()), None),
        (settling("reject", "bad"), "bad"),
    ],
)
async def test_rejected_is_dead_lettered_at_once(run: Handle, error: str | None) -> None:
    bench = await one(run)
    (letter,) = await bench.dead_letters()
    assert (letter.id, letter.body) == ("1", b'"body"')
    headers = letter.headers
    assert (headers["x_dead_letter_reason"], headers["attempts"]) == ("rejected", 1)
    assert headers["x_original_queue"] == "app:tasks"
    assert headers.get("x_last_error") == error
    assert (await bench.queue.info())["message_count"] == 0
    await bench.consumer.stop(1)


@pytest.mark.parametrize(("most", "runs"), [(1, 1), (2, 2), (5, 5)])
async def test_after_exactly_so_many_attempts_it_is_dead_lettered(most: int, runs: int) -> None:
    bench = await one(raising(ValueError("boom")), max_attempts=most)
    while not (letters := await bench.dead_letters()):
        await asyncio.sleep(0.1)
    assert bench.handler.seen == [("body", attempt) for attempt in range(1, runs + 1)]
    assert (letters[0].headers["x_dead_letter_reason"], letters[0].headers["attempts"]) == ("max_attempts", most)
    assert letters[0].headers["x_last_error"] == "ValueError: boom"
    await bench.consumer.stop(1)
    assert len(await bench.dead_letters()) == 1


@pytest.mark.parametrize("error", [Retry(Unprintable("x")), Reject(Unprintable("x")), Unprintable("x")])  # type: ignore[call-overload,arg-type]
async def test_an_error_without_a_text_is_no_obstacle(error: Exception) -> None:
    bench = await one(raising(error), max_attempts=1)
    (letter,) = await bench.dead_letters()
    assert "cannot be shown" in letter.headers["x_last_error"]
    await bench.consumer.stop(1)


def broken_decoder(error: Exception) -> Callable[[Codec], Callable[[bytes], Any]]:
    def decoder(codec: Codec) -> Callable[[bytes], Any]:
        def decode(body: bytes) -> Any:
            raise error

        return decode

    return decoder


@pytest.mark.parametrize(
    ("error", "reason", "attempts"),
    [
        (InvalidBodyError("size is missing"), "invalid", 1),
        (CodecError("not JSON"), "undecodable", 1),
        (KeyError("the body's own __post_init__"), "max_attempts", 3),
    ],
)
async def test_a_body_that_does_not_become_an_argument(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str, attempts: int
) -> None:
    bench = await make_bench()
    monkeypatch.setattr(bench.handler, "decoder", broken_decoder(error))
    await bench.handle("body")
    (letter,) = await bench.dead_letters()
    assert (letter.headers["x_dead_letter_reason"], letter.headers["attempts"]) == (reason, attempts)
    assert str(error) in letter.headers["x_last_error"]
    assert bench.handler.seen == []


async def test_undecodable_without_a_dead_letter_queue_is_kept_and_never_handed_over() -> None:
    bench = await make_bench(dead_letter=False)
    await bench.queue.forward([Outgoing("1", b"\xff{", {})])
    async with bench:
        await asyncio.sleep(60)
        assert (await bench.queue.info())["message_count"] == 1
    assert bench.consumer.metrics.delivered == 8
    assert bench.handler.seen == []


async def test_bodies_say_what_they_are() -> None:
    bench = await make_bench()
    await bench.queue.publish_many([b"raw", b"raw"])
    await bench.queue.publish({"a": 1}, {"content_type": "application/msgpack"})
    await bench.queue.forward([Outgoing("1", b"[1]", {"content_type": "text/plain"})])
    await bench.queue.forward([Outgoing(str(n), b"[2]", {"content_type": f"odd/{n % 20}"}) for n in range(40)])
    make, made = bench.handler.decoder, []

    def decoder(codec: Codec) -> Callable[[bytes], Any]:
        made.append(codec.name)
        return make(codec)

    bench.handler.decoder = decoder  # type: ignore[method-assign]
    async with bench:
        await bench.empty()
    assert [body for body, _ in bench.handler.seen] == [b"raw", b"raw", {"a": 1}, [1], *[[2]] * 40]
    # One for the queue itself, and one for each codec that a header has named: no header makes more.
    assert made == ["json/plain", "application/octet-stream", "application/msgpack", "json/plain"]


async def test_expired_is_dropped_where_the_queue_says_so() -> None:
    bench = await make_bench(dead_letter=False, on_expire="drop")
    await bench.queue.publish("late", ttl=5)
    await asyncio.sleep(6)
    async with bench:
        await bench.empty()
    assert bench.handler.seen == []
    assert bench.consumer.metrics.dropped == 1


async def test_an_expiry_that_is_no_number_is_none() -> None:
    bench = await make_bench()
    await bench.queue.forward([Outgoing("1", b"1", {"x_expires_at": "soon"})])
    async with bench:
        await bench.empty()
    assert bench.handler.seen == [(1, 1)]


@pytest.mark.parametrize("verb", ["ack", "nack", "reject"])
@pytest.mark.parametrize("then", [None, ValueError("after it")])
async def test_the_handlers_own_settlement_wins(verb: str, then: Exception | None) -> None:
    bench = await one(settling(verb, then=then))
    metrics = bench.consumer.metrics
    assert (metrics.acked, metrics.nacked, metrics.dead_lettered) == (
        verb == "ack",
        verb == "nack",
        verb == "reject",
    )
    with pytest.raises(HandlerError, match="released"):
        bench.handler.contexts[0].ack()
    await bench.consumer.stop(1)


async def test_a_failure_after_its_own_settlement_is_told_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    bench = await one(settling("ack", then=ValueError("after it")))
    await bench.consumer.stop(1)
    (record,) = caplog.records
    assert "failed, after its message was settled: ValueError: after it" in record.getMessage()
    assert record.exc_info is not None


@pytest.mark.parametrize("signal", [Snooze("30s"), Retry(after="30s"), Reject("bad")])
async def test_a_signal_after_its_own_settlement_has_no_effect_and_says_so(
    signal: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(body: str, context: Context) -> None:
        context.ack()
        raise signal

    await (await one(run)).consumer.stop(1)
    assert f"raised {type(signal).__name__} after its message was settled" in caplog.text


async def test_a_failure_is_logged_with_its_delivery(caplog: pytest.LogCaptureFixture) -> None:
    bench = await one(raising(HandlerError("boom", traceback="tasks.lua:3: boom")), max_attempts=1)
    await bench.consumer.stop(1)
    record = caplog.records[0]
    assert record.getMessage() == "handler app:handle failed, given up: tasks.lua:3: boom"
    assert record.levelno == logging.WARNING
    assert (record.message_id, record.attempt) == ("1", 1)  # type: ignore[attr-defined]
    assert (record.queue, record.consumer) == ("app:tasks", "app:consumer")  # type: ignore[attr-defined]


async def test_what_a_handler_logs_names_its_delivery(caplog: pytest.LogCaptureFixture) -> None:
    async def run(body: Any, context: Context) -> None:
        context.logger.info("working", extra={"step": 1})

    with caplog.at_level(logging.INFO):
        bench = await one(run)
    await bench.consumer.stop(1)
    (record,) = [record for record in caplog.records if record.name == "tasuki.function.app:handle"]
    assert not hasattr(record, "trace")
    assert (record.step, record.message_id, record.attempt) == (1, "1", 1)  # type: ignore[attr-defined]
    assert (record.queue, record.consumer) == ("app:tasks", "app:consumer")  # type: ignore[attr-defined]


async def test_every_message_is_measured() -> None:
    async def run(body: Any, context: Context) -> None:
        await asyncio.sleep(0.3)

    bench = await one(run, options=ConsumerOptions())
    await bench.consumer.stop(1)
    metrics = bench.consumer.metrics
    assert (metrics.delivered, metrics.redelivered) == (1, 0)
    assert metrics.handler_seconds.count == 1
    assert metrics.handler_seconds.sum == pytest.approx(0.3)


@pytest.mark.parametrize(("required", "seen"), [(True, 0), (False, 1)])
async def test_an_unsigned_message_is_not_handled(required: bool, seen: int) -> None:
    bench = await make_bench(returning(None), signing=Signing({"k": b"s" * 16}, required))
    await bench.queue.forward([Outgoing("1", b'"body"', {})])
    await bench.consumer.start()
    await asyncio.sleep(1)
    assert len(bench.handler.seen) == seen


KINDS = pytest.mark.parametrize("batch", [None, Batching(1, 0)], ids=["alone", "batch"])


async def bench_of(decode: Callable[[bytes], Any], batch: Batching | None) -> Bench:
    options = ConsumerOptions(1, 10, batch=batch)
    bench = await make_bench(driver=ModelDriver(ModelBroker(clock_of_loop())), options=options, max_attempts=1)
    bench.consumer.gate = SuspectGate()
    bench.handler.decoder = lambda codec: decode  # type: ignore[method-assign]
    return bench


@KINDS
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_it_cannot_end_the_worker_by_an_error(error: BaseException, batch: Batching | None) -> None:
    def decode(body: bytes) -> Any:
        if body == b'"bad"':
            raise error
        return "good"

    bench = await bench_of(decode, batch)
    await bench.handle("bad", "good")
    assert [body if batch is None else body[0] for body, _ in bench.handler.seen] == ["good"]
    (letter,) = await bench.dead_letters()
    assert letter.headers["x_dead_letter_reason"] == "max_attempts"
    assert str(letter.headers["x_last_error"]).startswith(f"the decoding raised {type(error).__name__}(")


@KINDS
async def test_the_start_of_a_suspect_is_recorded_before_its_body_is_decoded(batch: Batching | None) -> None:
    recorded: list[bool] = []

    def decode(body: bytes) -> Any:
        recorded.append(any(verb == "start" for verb, _ in bench.queue.driver.calls))  # type: ignore[attr-defined]

    bench = await bench_of(decode, batch)
    await bench.queue.publish("suspect")
    bench.queue.driver.broker.queues["tasks"].stored[0].suspect = True  # type: ignore[attr-defined]
    async with bench:
        await bench.empty()
    assert recorded == [True]
