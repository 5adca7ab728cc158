"""Controls: what the watch reports counts, and keys that are gone leave nothing behind."""

from __future__ import annotations

from tasuki.contracts.state.store import Change
from tasuki.state.shared import CONTROL, Controls


def test_a_change_that_is_reported_late_does_not_bring_a_deleted_key_back() -> None:
    controls = Controls()
    controls.apply(Change(CONTROL + "a", b"1", 1))
    controls.change(Change(CONTROL + "a", None, 1))
    controls.apply(Change(CONTROL + "a", b"1", 1))
    assert controls.get("a") is None
    controls.apply(Change(CONTROL + "a", b"2", 2))
    assert controls.get("a") == b"2"


def test_many_keys_that_came_and_went_leave_nothing_behind() -> None:
    controls = Controls()
    for number in range(5_000):
        controls.apply(Change(f"{CONTROL}cancel/{number}", b"", number + 1))
        controls.apply(Change(f"{CONTROL}cancel/{number}", None, number + 1))
    assert not any(vars(controls).values())
