"""When waiting messages become a batch."""

from __future__ import annotations

import pytest

from tasuki.consumers.batch import cut


@pytest.mark.parametrize(
    ("waiting", "is_due", "sizes"),
    [
        ("", False, []),
        ("", True, []),
        ("..", False, []),
        ("..", True, [2]),
        ("...", False, [3]),
        ("....", False, [3]),
        ("....", True, [3, 1]),
        ("......", True, [3, 3]),
        ("S", False, [1]),
        ("SS", False, [1, 1]),
        (".S", False, [1, 1]),
        ("S.", False, [1]),
        ("S.", True, [1, 1]),
        ("..S..", False, [2, 1]),
        ("..S...", False, [2, 1, 3]),
        ("....SS.", True, [3, 1, 1, 1, 1]),
    ],
)
def test_batches_of_three(waiting: str, is_due: bool, sizes: list[int]) -> None:
    """A dot is a message, S a suspect."""
    assert cut([each == "S" for each in waiting], 3, is_due=is_due) == sizes
