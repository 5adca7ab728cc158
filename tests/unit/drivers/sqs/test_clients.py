"""Batches of ten, and a result for each entry."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.drivers.sqs.clients import at_once, in_tens, in_turns, results_of
from tasuki.errors import BrokerUnavailableError, DriverError


@pytest.mark.parametrize(("count", "parts"), [(0, []), (1, [1]), (10, [10]), (11, [10, 1]), (30, [10, 10, 10])])
def test_at_most_ten(count: int, parts: list[int]) -> None:
    found = list(in_tens(range(count)))
    assert [len(part) for part in found] == parts
    assert [item for part in found for item in part] == list(range(count))


def test_at_most_so_many_bytes() -> None:
    assert list(in_tens([4, 4, 3, 9, 20, 1], lambda size: size, 10)) == [[4, 4], [3], [9], [20], [1]]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 12)), max_size=60))
def test_each_part_has_one_item_of_a_group_and_groups_keep_their_order(items: list[tuple[str, int]]) -> None:
    numbered = [(group, size, number) for number, (group, size) in enumerate(items)]
    parts = in_turns(numbered, lambda item: item[0], lambda item: item[1], 10)
    for part in parts:
        assert len({group for group, _, _ in part}) == len(part) <= 10
        assert len(part) == 1 or sum(size for _, size, _ in part) <= 10
    sent = [item for part in parts for item in part]
    assert sorted(sent, key=lambda item: item[2]) == numbered
    for name in "abcd":
        assert [item for item in sent if item[0] == name] == [item for item in numbered if item[0] == name]


@given(st.lists(st.integers(1, 6), max_size=60))
def test_items_of_different_groups_fill_parts_of_ten(sizes: list[int]) -> None:
    numbered = list(enumerate(sizes))
    parts = in_turns(numbered, lambda item: str(item[0]), lambda _: 1, 100)
    assert parts == list(in_tens(numbered))


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
