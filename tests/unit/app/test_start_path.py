"""What a queue and its consumer add to a start, counted in instructions, however many there are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tests.support.least import Least
from tests.unit.consumers.instructions import counting

pytestmark = pytest.mark.anyio

FEW, MANY = 25, 125

BUDGET = 28_500
"""Instructions of ours for each further queue; it takes 27,600 on 3.11.

It took 40,300 when some steps looked at all queues for each.
"""


def handler(number: int) -> Callable[[Any], Any]:
    async def handle(body: dict[str, Any]) -> None: ...

    handle.__name__ = handle.__qualname__ = f"handle_{number}"
    return handle


async def cost_of(queues: int, root: Path) -> int:
    app = App("memory://", root=root)
    for number in range(queues):
        app.queue(f"q{number}").consumer()(handler(number))
    with counting("/src/tasuki/") as count:
        async with app.worker():
            pass
    return count.instructions


async def test_a_queue_costs_the_same_among_few_and_many(tmp_path: Path) -> None:
    least = Least(instructions=BUDGET)
    while least.is_open:
        few, many = await cost_of(FEW, tmp_path), await cost_of(MANY, tmp_path)
        least.add(instructions=(many - few) / (MANY - FEW))
    if sys.version_info[:2] == (3, 11):  # other versions of Python compile to other instructions
        least.check()
