from __future__ import annotations

import pytest

from tasuki.drivers.toolkit.stores import require
from tasuki.errors import DriverError


def test_a_store_of_this_layout_is_accepted() -> None:
    require(4, 4, place="SQLite file 'q.db'", instead="path", driver="app:db")


@pytest.mark.parametrize(("found", "has"), [(3, "layout 3"), (5, "layout 5"), (0, "layout 0"), (None, "no layout")])
def test_a_store_of_another_layout_is_refused_with_the_remedy(found: int | None, has: str) -> None:
    with pytest.raises(DriverError) as caught:
        require(found, 4, place="SQLite file 'q.db'", instead="path", driver="app:db")
    assert str(caught.value) == (
        f"SQLite file 'q.db' has {has}, and this version of Tasuki needs layout 4: "
        "drain it with the version that made it, or set another path"
    )
    assert caught.value.driver == "app:db"
