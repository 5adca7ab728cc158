"""Which queues a driver knows, may make, and keeps alive."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from types import FrameType
from typing import Any

import pytest

from tasuki.drivers.toolkit.known_queues import KnownQueues
from tasuki.errors import BrokerUnavailableError, QueueNotFoundError
from tasuki.system import forks


@pytest.fixture
def known() -> KnownQueues[str]:
    return KnownQueues("app:x")


def test_an_unknown_queue_is_not_found(known: KnownQueues[str]) -> None:
    assert "q" not in known
    assert known.find("q") is None
    with pytest.raises(QueueNotFoundError, match="queue 'q' was never declared on driver 'app:x'") as refused:
        known.get("q")
    assert (refused.value.driver, refused.value.queue, refused.value.outcome) == ("app:x", "q", "rejected")


def test_only_a_declared_queue_may_be_made(known: KnownQueues[str]) -> None:
    known.declare("made", "one")
    known.inspect("used", "two")
    assert [known.get("made"), known.get("used")] == ["one", "two"]
    assert [known.is_declared(queue) for queue in ("made", "used", "other")] == [True, False, False]
    assert known.declared() == ["one"]
    assert known.all() == ["one", "two"]


def test_an_inspection_leaves_a_declaration_as_it_is(known: KnownQueues[str]) -> None:
    known.declare("q", "declared")
    known.inspect("q", "found")
    assert known.get("q") == "declared"
    assert known.is_declared("q")


def test_the_last_inspection_and_the_last_declaration_hold(known: KnownQueues[str]) -> None:
    known.inspect("q", "first")
    known.inspect("q", "second")
    assert known.get("q") == "second"
    known.declare("q", "third")
    known.declare("q", "fourth")
    assert (known.get("q"), known.is_declared("q")) == ("fourth", True)


def test_a_process_keeps_what_it_has_declared_and_not_what_it_has_inspected(known: KnownQueues[str]) -> None:
    known.declare("made", "spec")
    known.inspect("used", "found")
    assert [known.is_kept(queue) for queue in ("made", "used", "other")] == [True, False, False]


def test_a_forked_child_knows_the_queues_and_keeps_none(
    known: KnownQueues[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known.declare("q", "spec")
    monkeypatch.setattr(forks, "count", forks.count + 1)
    assert (known.get("q"), known.is_declared("q"), known.is_kept("q")) == ("spec", True, False)
    known.declare("q", "its own")
    assert known.is_kept("q")


def test_what_is_forgotten_is_returned_once(known: KnownQueues[str]) -> None:
    known.declare("q", "spec")
    known.inspect("used", "found")
    assert known.forget("q") == "spec"
    assert known.forget("used") == "found"
    assert known.forget("q") is None
    assert not known.is_kept("q")
    known.inspect("q", "found")
    assert not known.is_declared("q")


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_deletion_that_fails_leaves_the_queue_known(known: KnownQueues[str], is_declared: bool) -> None:
    (known.declare if is_declared else known.inspect)("q", "spec")

    def delete() -> None:
        with known.forgetting("q"):
            assert "q" not in known
            raise BrokerUnavailableError("gone")

    with pytest.raises(BrokerUnavailableError):
        delete()
    assert (known.get("q"), known.is_declared("q"), known.is_kept("q")) == ("spec", is_declared, is_declared)


def test_a_deletion_forgets_the_queue(known: KnownQueues[str]) -> None:
    known.declare("q", "spec")
    with known.forgetting("q"), known.forgetting("other"):
        pass
    assert "q" not in known


def test_a_declaration_during_a_deletion_that_fails_stays(known: KnownQueues[str]) -> None:
    known.inspect("q", "before")

    def delete() -> None:
        with known.forgetting("q"):
            known.declare("q", "since")
            raise BrokerUnavailableError("gone")

    with pytest.raises(BrokerUnavailableError):
        delete()
    assert (known.get("q"), known.is_declared("q")) == ("since", True)


Step = Callable[[], object]


def interrupted(work: Step, meanwhile: Step, *, at: int | None = None) -> None:
    """Run ``work``, and ``meanwhile`` as another thread would: before instruction number ``at`` (None: each one)."""
    numbers = count()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        frame.f_trace_opcodes = True
        if event == "opcode" and at in {None, next(numbers)}:
            sys.settrace(None)
            meanwhile()
            sys.settrace(trace)
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 reports instructions only to traces that are set after this
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("change", ["inspect", "inspect again", "forget", "put back"])
def test_no_thread_sees_an_inspected_queue_as_declared_while_it_changes(known: KnownQueues[str], change: str) -> None:
    if change != "inspect":
        known.inspect("q", "found")
    seen: list[object] = []

    def change_it() -> None:
        if change.startswith("inspect"):
            known.inspect("q", "again")
        elif change == "forget":
            known.forget("q")
        else:
            with suppress(BrokerUnavailableError), known.forgetting("q"):
                raise BrokerUnavailableError("gone")

    interrupted(change_it, lambda: seen.append((known.is_declared("q"), known.declared())))
    assert set(map(repr, seen)) == {repr((False, []))}


@pytest.mark.parametrize("read", ["is_declared", "declared"])
def test_no_thread_sees_an_inspected_queue_as_declared_if_it_is_forgotten_meanwhile(read: str) -> None:
    for at in range(60):
        known: KnownQueues[str] = KnownQueues("app:x")
        known.inspect("q", "found")
        seen: list[object] = []

        def look(known: KnownQueues[str] = known, seen: list[object] = seen) -> None:
            seen.append(known.is_declared("q") if read == "is_declared" else known.declared())

        interrupted(look, partial(known.forget, "q"), at=at)
        assert seen in ([False], [[]]), f"before instruction {at}"
