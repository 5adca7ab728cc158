"""Types of bodies whose own code raises what ends a task, or ends the worker itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tasuki.consumers.batch import Batching
from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.handling.suspects import Gate
from tests.unit.consumers.model import ModelBroker, ModelDriver
from tests.unit.consumers.parts import Bench, clock_of_loop, make_bench

pytestmark = pytest.mark.anyio

KINDS = pytest.mark.parametrize("batch", [None, Batching(1, 0)], ids=["alone", "batch"])


async def bench_of(decode: Callable[[bytes], Any], batch: Batching | None) -> Bench:
    options = ConsumerOptions(1, 10, batch=batch)
    bench = await make_bench(driver=ModelDriver(ModelBroker(clock_of_loop())), options=options, max_attempts=1)
    bench.consumer.gate = Gate()
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
