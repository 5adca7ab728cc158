"""Batches of moves are cut into parts, and receipts of another form are stale."""

from __future__ import annotations

import pytest

from tasuki.drivers.toolkit.moves import is_receipt, pieces


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], [[]]),
        ([1, 2], [[1, 2]]),
        ([3, 3, 3], [[3], [3], [3]]),
        ([9, 1, 9], [[9], [1], [9]]),
        ([2, 3, 1], [[2, 3], [1]]),
        ([0, 0, 0, 0], [[0, 0, 0], [0]]),
    ],
)
def test_a_batch_is_cut_by_bytes_and_by_messages(sizes: list[int], expected: list[list[int]]) -> None:
    assert [sizes[piece] for piece in pieces(sizes, 5, 3)] == expected


def test_receipts_of_another_form_are_not_ours() -> None:
    assert is_receipt((1, 2))
    assert [receipt for receipt in (1, "ab", (1,), [1, 2], None) if is_receipt(receipt)] == []
