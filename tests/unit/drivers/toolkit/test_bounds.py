from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from tasuki.contracts.driver import ACTS, SPANS, Capabilities, Merged, Outgoing, Unique
from tasuki.drivers.toolkit.results import answered_in_order, check_bounds
from tasuki.errors import DriverError, QueueFullError, UnsupportedError

ALL = frozenset({*SPANS, *ACTS})


def message(unique: Unique | None = None, **options: Any) -> Outgoing:
    return Outgoing("m", b"", {}, unique=unique, **options)


def check(*batch: Outgoing, known: frozenset[str] = ALL) -> bool:
    return check_bounds(batch, driver="d", queue="q", unique=known)


def test_whether_a_batch_has_a_unique_message() -> None:
    assert not check(message(), message(delay=5.0))
    assert check(message(), message(Unique("k")))
    assert not check()


@pytest.mark.parametrize("needed", ["pending", "running", "window", "keep", "replace", "extend"])
def test_a_driver_refuses_what_it_does_not_claim(needed: Any) -> None:
    span: Any = needed if needed in ("pending", "running") else 60.0 if needed == "window" else "pending"
    unique = Unique("k", span, needed if needed in ACTS else "keep")
    assert check(message(unique))
    with pytest.raises(UnsupportedError, match=f"message 'm': the driver does not keep messages unique by {needed}"):
        check(message(unique), known=ALL - {needed})


@pytest.mark.parametrize("unique", [Unique("k", 0.0), Unique("k", -1.0), Unique("k", inf), Unique("k", nan)])
def test_a_window_that_cannot_be(unique: Unique) -> None:
    with pytest.raises(UnsupportedError, match=r"its window is .* seconds; give more than 0, and a finite number"):
        check(message(unique))


@pytest.mark.parametrize("latest", [-1.0, inf, nan])
def test_a_latest_time_that_cannot_be(latest: float) -> None:
    with pytest.raises(UnsupportedError, match=r"latest is .* seconds; give 0 or more, and a finite number"):
        check(message(Unique("k", act="extend", latest=latest)))


def test_the_answers_of_a_batch() -> None:
    full, bad = QueueFullError("full"), DriverError("bad")
    kept = Merged("kept", "x")
    assert answered_in_order(3, [None, None, None], {}, full) == ()
    assert answered_in_order(3, [None, kept, None], {}, full) == [None, kept, None]
    assert answered_in_order(4, [kept], {1: bad}, full) == [kept, bad, full, full]
    with pytest.raises(QueueFullError):
        answered_in_order(2, [], {}, full)


def test_what_a_driver_has() -> None:
    none, some = Capabilities(), Capabilities("power", frozenset({"peek"}), frozenset({"running", "keep"}))
    names = ("multi_process", "peek", "unique", "unique:running", "unique:keep")
    assert [none.has(name) for name in names] == [False] * 5
    assert [some.has(name) for name in names] == [True] * 5
    assert not some.has("unique:pending")
