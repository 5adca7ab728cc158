"""What follows which state of a batch, and counts that stay true over the death of its process."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from msgspec.structs import replace

from tasuki.dead import steps
from tasuki.dead.batch import Batch, State
from tasuki.errors import BatchStateError

BATCH = Batch("1", "retry", "app:dead", "dead", 5.0, "ana", total=300, atomic=True)


def batch(**changes: Any) -> Batch:
    return replace(BATCH, **changes)


ALLOWED = {
    "pause": {"running"},
    "resume": {"running", "paused", "stopped", "failed"},
    "cancel": {"running", "paused", "stopped", "failed"},
    "undo": {"running", "paused", "cancelled", "stopped", "done", "failed", "undoing"},
}


@pytest.mark.parametrize("order", steps.ORDERS)
@pytest.mark.parametrize("state", get_args(State))
def test_each_order_in_each_state(order: steps.Order, state: State) -> None:
    if state not in ALLOWED[order]:
        with pytest.raises(BatchStateError, match="batch 1 is") as caught:
            steps.ordered(batch(state=state), order, 9.0)
        assert caught.value.batch == "1"
        return
    after = steps.ordered(batch(state=state, problem="old", moved=3), order, 9.0)
    assert after.state == {"pause": "paused", "resume": "running", "cancel": "cancelled", "undo": "undoing"}[order]
    assert (after.problem, after.moved) == ("", 3)
    assert after.ended == (9.0 if order == "cancel" else None)
    assert after.canary == (None if (order, state) == ("resume", "stopped") else 10)


def test_one_that_is_brought_back_does_nothing_else() -> None:
    for order in steps.ORDERS:
        with pytest.raises(BatchStateError, match="it is brought back, or was"):
            steps.ordered(batch(state="undone", is_back=True), order, 9.0)
    with pytest.raises(BatchStateError, match="is being undone"):
        steps.ordered(batch(state="undoing", is_back=True), "pause", 9.0)
    for state in ("failed", "undoing"):  # the process of the undo may have died
        again = steps.ordered(batch(state=state, is_back=True), "undo", 9.0)
        assert (again.state, again.is_back) == ("undoing", True)
    with pytest.raises(BatchStateError):
        steps.ordered(batch(state="failed", is_back=True), "resume", 9.0)


def test_why_it_cannot_be_undone() -> None:
    with pytest.raises(BatchStateError, match="no transfer"):
        steps.ordered(batch(kept=False, atomic=False), "undo", 9.0)
    with pytest.raises(BatchStateError, match="more than 10,000 letters"):
        steps.ordered(batch(kept=False), "undo", 9.0)


def test_what_a_dead_process_was_about_to_move_is_in_doubt_until_it_is_seen_again() -> None:
    about = steps.about(batch(moved=100), ["a", "b", "c"])
    assert (about.pending, about.moved) == (("a", "b", "c"), 100)
    other = steps.taken(replace(about, doubt=("x", "c")), "other")
    assert (other.moved, other.pending, other.doubt, other.runner) == (103, (), ("x", "c", "a", "b"), "other")
    seen = steps.about(other, ["b", "c", "d"])
    assert (seen.moved, seen.doubt) == (101, ("x", "a"))
    assert steps.again_of(other, ["b", "c", "d"]) == {"b", "c"}
    end = steps.finished(steps.settled(seen, 3, 0, 0), 9.0)
    assert (end.moved, end.state, end.doubt, end.ended) == (104, "done", (), 9.0)


def test_the_same_on_the_way_back() -> None:
    turned = steps.turned(batch(moved=5, doubt=("a", "b")), ["b", "z"])
    assert (turned.moved, turned.doubt, turned.is_back) == (4, (), True)
    about = steps.about(turned, ["c", "d"])
    assert about.first == ()
    other = steps.taken(about, "other")
    assert (other.undone, other.doubt) == (2, ("c", "d"))
    seen = steps.about(other, ["d"])
    assert (seen.undone, seen.doubt) == (1, ("c",))
    settled = steps.settled(seen, 1, 7, 7)
    assert (settled.undone, settled.gone, settled.stayed) == (2, 0, 0)
    assert steps.finished(settled, 9.0, ["c"]).undone == 2
    end = steps.finished(settled, 9.0)
    assert (end.undone, end.state, end.started) == (1, "undone", 3)


def test_settled_counts() -> None:
    found = steps.settled(batch(pending=("a",), moved=1, gone=1, stayed=1), 5, 2, 3)
    assert (found.pending, found.moved, found.gone, found.stayed) == ((), 6, 3, 4)


def test_the_first_letters_of_a_retry_are_remembered() -> None:
    first = steps.about(batch(), [f"m{n}" for n in range(40)])
    second = steps.about(first, [f"m{n}" for n in range(30, 100)])
    assert second.first == tuple(f"m{n}" for n in range(50))
    assert steps.about(second, ["z"]).first == second.first
    assert steps.about(batch(act="delete"), ["a"]).first == ()


def test_orders_of_others_are_merged() -> None:
    mine = batch(moved=7, problem="wait", canary=3)
    stored = batch(moved=2, state="paused", canary=None, ended=4.0)
    merged = steps.merged(mine, stored)
    assert (merged.moved, merged.state, merged.canary, merged.ended, merged.problem) == (7, "paused", None, 4.0, "")


def test_ends() -> None:
    assert steps.finished(batch(problem="full", stayed=2), 9.0).problem == "full"
    assert steps.finished(batch(problem="full"), 9.0).problem == ""


def test_chosen_letters_that_were_not_there_are_counted_at_the_end() -> None:
    chosen = steps.settled(batch(ids=5), 3, 0, 0)
    assert steps.finished(chosen, 9.0).problem == "2 of the 5 chosen letters were not in the queue any more"
    for other in (replace(chosen, limit=3), replace(chosen, where="age > 5"), replace(chosen, ids=3)):
        assert steps.finished(other, 9.0).problem == ""
    stopped = steps.stopped(batch(first=("a", "b", "c"), returned_first=3, canary=2), 9.0)
    assert (stopped.state, stopped.problem) == ("stopped", "3 of the first 3 letters failed again, more than 2")
    assert steps.failed(batch(), "no", 9.0).problem == "no"


@pytest.mark.parametrize(
    ("changes", "is_alarmed"),
    [({"returned_first": 10}, False), ({"returned_first": 11}, True), ({"returned_first": 50, "canary": None}, False)],
)
def test_the_canary(changes: dict[str, Any], is_alarmed: bool) -> None:
    assert steps.is_alarmed(batch(**changes)) is is_alarmed


FIFTY = tuple(str(n) for n in range(50))


@pytest.mark.parametrize(
    ("changes", "is_watching"),
    [
        ({"first": FIFTY}, True),
        ({"first": FIFTY, "total": None}, True),
        ({"first": FIFTY, "moved": 300}, False),
        ({"first": FIFTY, "canary": None}, False),
        ({"first": FIFTY, "act": "move"}, False),
        ({"first": FIFTY, "is_back": True}, False),
        ({"first": FIFTY[1:]}, False),
    ],
)
def test_when_it_waits_for_the_canary(changes: dict[str, Any], is_watching: bool) -> None:
    assert steps.is_watching(batch(**changes)) is is_watching


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ({}, 50),
        ({"first": FIFTY[:20]}, 30),
        ({"first": FIFTY}, 100),
        ({"canary": None}, 100),
        ({"act": "delete"}, 100),
        ({"act": "delete", "rate": 0.0}, 100),
        ({"act": "delete", "rate": 7.9}, 7),
        ({"act": "delete", "rate": 0.2}, 1),
        ({"act": "delete", "rate": 0.2, "is_back": True}, 100),
    ],
)
def test_how_many_go_next(changes: dict[str, Any], most: int) -> None:
    assert steps.most_now(batch(**changes), 100) == most


def test_a_limit_counts_letters_in_doubt_once() -> None:
    limited = batch(limit=10, moved=10, doubt=("a",))
    assert steps.may_take(limited, "a", 0)
    assert not steps.may_take(limited, "b", 0)
    assert steps.may_take(batch(limit=10, moved=8), "b", 1)
    assert not steps.may_take(batch(limit=10, moved=8), "b", 2)
    assert steps.may_take(batch(), "b", 9)


def test_the_trash() -> None:
    deleted = batch(act="delete", chunks=2, ended=3.0, state="done")
    assert steps.is_due_to_be_emptied(deleted)
    for changes in ({"act": "move"}, {"chunks": 0}, {"ended": None}, {"state": "undone"}):
        assert not steps.is_due_to_be_emptied(replace(deleted, **changes))
    closed = steps.closed(deleted)
    assert not closed.kept
    assert steps.is_due_to_be_emptied(closed)
    with pytest.raises(BatchStateError, match="the time of its letters in the trash is over"):
        steps.ordered(closed, "undo", 9.0)
    undoing = steps.ordered(deleted, "undo", 9.0)
    assert steps.closed(undoing) is undoing
    emptied = steps.emptied(deleted)
    assert not emptied.kept
    assert not steps.is_due_to_be_emptied(emptied)
    with pytest.raises(BatchStateError, match="the time of its letters in the trash is over"):
        steps.ordered(emptied, "undo", 9.0)


def test_what_is_kept_beside_the_record() -> None:
    for state, ids, notes in (
        ("running", True, True), ("paused", True, True), ("stopped", True, True), ("failed", True, True),
        ("done", False, True), ("cancelled", False, True),
    ):  # fmt: skip
        one = batch(state=state)
        assert (steps.needs_ids(one), steps.needs_notes(one)) == (ids, notes)
    assert not steps.needs_ids(batch(state="undoing", is_back=True))
    assert not steps.needs_notes(batch(state="undone", is_back=True))
    assert not steps.needs_notes(batch(kept=False))
