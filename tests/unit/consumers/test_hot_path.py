"""What a message costs from the fetcher to its settlement, counted in bytecode instructions."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from tasuki.consumers.definition import ConsumerOptions
from tasuki.contracts.handler import Context
from tests.unit.consumers.instructions import Count, counting
from tests.unit.consumers.parts import make_bench

pytestmark = pytest.mark.anyio

FEW, MANY = 100, 500

BUDGET = {False: 284, True: 302}
"""Instructions a message, by whether its handler needs a context; the handler's own and the codec's not counted.

It takes 281 and 299 on 3.11.
"""

PER_MESSAGE = (
    "Delivery.__init__",
    "Context.__init__",
    "Executor.execute",
    "Delivery.conclude",
    "Settler.settle",
    "Settler._add",
)
"""Functions of the receiving side that a message enters; all others are entered once a batch."""


async def cost_of(messages: int, *, needs_context: bool = True) -> Count:
    """Of this many messages through a handler that does nothing, but for the handler."""
    bench = await make_bench(options=ConsumerOptions(prefetch=100))
    bench.handler.needs_context = needs_context

    async def handle(body: Any, context: Context) -> None:
        return None

    bench.handler.handle = handle  # type: ignore[method-assign]
    await bench.queue.publish_many([{"n": number} for number in range(messages)])
    with counting("/tasuki/consumers/", "/tasuki/contracts/") as count:
        await bench.consumer.start()
        while bench.consumer.metrics.acked < messages or bench.consumer.now.held:
            await asyncio.sleep(0.01)
    await bench.consumer.stop(1)
    return count


@pytest.mark.parametrize("needs_context", [False, True])
async def test_a_message_costs_no_more_than_its_budget(needs_context: bool) -> None:
    few, many = [await cost_of(messages, needs_context=needs_context) for messages in (FEW, MANY)]
    messages = MANY - FEW
    calls = {name: (count - few.entered.get(name, 0)) / messages for name, count in many.entered.items()}
    expected = [name for name in PER_MESSAGE if needs_context or name != "Context.__init__"]
    assert {name: round(each, 1) for name, each in calls.items() if each > 0.5} == dict.fromkeys(expected, 1.0)
    if sys.version_info[:2] == (3, 11):  # other versions of Python compile to other instructions
        assert (many.instructions - few.instructions) / messages <= BUDGET[needs_context]
