"""What the log of complete messages costs: a count each where they are many, one pass where each has its line."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import pytest

from tasuki.consumers.definition import ConsumerOptions
from tasuki.contracts.handler import Context
from tasuki.observe.log import JsonFormatter, TextFormatter
from tests.unit.consumers.instructions import Count, counting
from tests.unit.consumers.parts import make_bench

pytestmark = pytest.mark.anyio

FEW, MANY = 2_000, 3_000

BUDGET = 42
"""Instructions more than without the log for a message that is counted; it takes 41 on 3.11."""

OF_A_LINE = {"json": (JsonFormatter(), 60), "text": (TextFormatter(), 64)}
"""Calls of a line: of functions of ours, that is, of Python."""


async def cost_of(messages: int) -> Count:
    bench = await make_bench(options=ConsumerOptions(prefetch=100))

    async def handle(body: Any, context: Context) -> None:
        return None

    bench.handler.handle = handle  # type: ignore[method-assign]
    await bench.queue.publish_many([{"n": number} for number in range(messages)])
    with counting("/tasuki/consumers/", "/tasuki/contracts/", "/tasuki/observe/") as count:
        await bench.consumer.start()
        while bench.consumer.metrics.acked < messages or bench.consumer.now.held:
            await asyncio.sleep(0.01)
    await bench.consumer.stop(1)
    return count


async def test_a_counted_message_costs_no_more_than_its_budget(caplog: pytest.LogCaptureFixture) -> None:
    instructions = {}
    for level in ("WARNING", "INFO"):
        caplog.set_level(level, "tasuki.message")
        few, many = [await cost_of(messages) for messages in (FEW, MANY)]
        instructions[level] = (many.instructions - few.instructions) / (MANY - FEW)
    calls = {name: count - few.entered.get(name, 0) for name, count in many.entered.items()}
    assert calls["CompletionLog.around_settle.<locals>.logged"] == MANY - FEW
    assert calls["CompletionLog._add_time"] <= (MANY - FEW) / 2, "a handler's time is kept of some"
    if sys.version_info[:2] == (3, 11):
        assert instructions["INFO"] - instructions["WARNING"] <= BUDGET


@pytest.mark.parametrize("form", list(OF_A_LINE))
async def test_a_line_costs_no_more_calls_than_its_budget(form: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tasuki.message")
    formatter, budget = OF_A_LINE[form]
    async with await make_bench(options=ConsumerOptions()) as bench:
        await bench.queue.publish("x")
        await bench.settled()
    [record] = [each for each in caplog.records if each.name == "tasuki.message"]
    formatter.format(record)  # its names are known to the masks from here on
    with counting("/tasuki/", "/logging/") as count:
        formatter.format(logging.makeLogRecord(vars(record)))
    assert sum(count.entered.values()) <= budget, count.entered
