from __future__ import annotations

import pytest

from tasuki.drivers.toolkit.layout import Layout, is_outdated
from tasuki.errors import DriverError


@pytest.mark.parametrize(
    ("found", "ours", "expected"),
    [
        ((4, 4), (4, 4), False),
        ((3, 2), (4, 4), True),
        ((5, 4), (4, 4), False),
        ((9, 4), (4, 1), False),
    ],
)
def test_a_newer_layout_is_left_as_it_is(found: tuple[int, int], ours: tuple[int, int], expected: bool) -> None:
    assert is_outdated(Layout(*found), Layout(*ours), place="file 'q.db'", driver="app:db") is expected


def test_a_layout_that_needs_a_newer_version_is_refused_with_the_remedy() -> None:
    with pytest.raises(DriverError) as caught:
        is_outdated(Layout(7, 5), Layout(4, 3), place="SQLite file 'q.db'", driver="app:db")
    assert str(caught.value) == (
        "SQLite file 'q.db' has layout 7, which needs a Tasuki that knows layout 5; this one knows 4: upgrade it"
    )
    assert caught.value.driver == "app:db"
