"""Batches of ten, and a result for each entry."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.drivers.sqs.sending.batches import at_once, in_tens, results_of
from tasuki.errors import BrokerUnavailableError, DriverError


@pytest.mark.parametrize(("count", "parts"), [(0, []), (1, [1]), (10, [10]), (11, [10, 1]), (30, [10, 10, 10])])
def test_at_most_ten(count: int, parts: list[int]) -> None:
    found = list(in_tens(range(count)))
    assert [len(part) for part in found] == parts
    assert [item for part in found for item in part] == list(range(count))


def test_at_most_so_many_bytes() -> None:
    assert list(in_tens([4, 4, 3, 9, 20, 1], lambda size: size, 10)) == [[4, 4], [3], [9], [20], [1]]


def test_results_by_entry() -> None:
    answer = {
        "Successful": [{"Id": "2"}],
        "Failed": [{"Id": "0", "Code": "InternalError", "SenderFault": False}, {"Id": "1", "Code": "X.Y#Odd"}],
    }
    results, codes = results_of(answer, 4, "sqs", "q")
    assert [type(result) for result in results] == [
        BrokerUnavailableError,
        BrokerUnavailableError,
        type(None),
        DriverError,
    ]
    assert codes == ["InternalError", "Odd", "", "Missing"]
    assert results[0] is not None
    assert results[3] is not None
    assert (results[0].outcome, results[3].outcome) == ("rejected", "unknown")


def test_a_few_requests_at_the_same_time() -> None:
    running = most = 0

    async def work(part: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    asyncio.run(at_once(range(50), work))
    assert most == 10
