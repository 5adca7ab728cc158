"""Open, declared, ours after a fork: one answer of all drivers."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from types import FrameType
from typing import Any

import pytest

from tasuki.drivers.toolkit import guard as guards
from tasuki.drivers.toolkit.guard import Guard, HeldReceipts, KnownQueues, not_declared
from tasuki.errors import BrokerUnavailableError, QueueNotFoundError
from tasuki.system import signals


def test_it_holds_what_was_opened_until_it_is_closed() -> None:
    guard = Guard[str]("app:x")
    assert guard.current is None
    with pytest.raises(BrokerUnavailableError, match="driver 'app:x' is not open; open it first") as refused:
        guard.get("q")
    assert (refused.value.driver, refused.value.queue, refused.value.outcome) == ("app:x", "q", "rejected")
    guard.opened("session")
    assert guard.get("q") == guard.current == "session"
    guard.closed()
    guard.closed()
    assert guard.current is None
    with pytest.raises(BrokerUnavailableError, match="is not open"):
        guard.get()


def test_a_close_that_comes_late_leaves_what_was_opened_since() -> None:
    guard = Guard[object]("app:x")
    first, second = object(), object()
    guard.opened(first)
    guard.opened(second)
    guard.closed(first)
    assert guard.current is second
    guard.closed(second)
    assert guard.current is None


def test_a_verb_that_has_awaited_something_finds_out_that_the_driver_was_closed_meanwhile() -> None:
    guard = Guard[object]("app:x")
    first, second = object(), object()
    guard.opened(first)
    guard.check(first)
    guard.closed()
    with pytest.raises(BrokerUnavailableError, match="is not open"):
        guard.check(first, "q")
    guard.opened(second)
    with pytest.raises(BrokerUnavailableError, match="is not open"):
        guard.check(first, "q")


def test_a_child_finds_it_closed_until_it_opens_it_and_never_frees_what_is_its_parents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inherited: list[object] = []
    monkeypatch.setattr(guards, "_inherited", inherited)
    guard = Guard[str]("app:x")
    guard.opened("the parent's")
    monkeypatch.setattr(signals, "fork_count", signals.fork_count + 1)
    assert guard.current is None
    assert not guard.is_here
    with pytest.raises(BrokerUnavailableError, match="'app:x' was opened by the parent process; open it in this one"):
        guard.get("q")
    assert inherited == []
    guard.opened("the child's")
    assert guard.get("q") == "the child's"
    assert inherited == ["the parent's"]


def test_a_close_in_a_child_leaves_the_parents_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    inherited: list[object] = []
    monkeypatch.setattr(guards, "_inherited", inherited)
    guard = Guard[str]("app:x")
    guard.opened("the parent's")
    monkeypatch.setattr(signals, "fork_count", signals.fork_count + 1)
    guard.closed(guard.current)
    assert inherited == ["the parent's"]
    with pytest.raises(BrokerUnavailableError, match="is not open"):
        guard.get()


def test_each_loop_and_each_process_has_a_lock_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = Guard[str]("app:x")

    async def change() -> None:
        lock = guard.changing()
        assert lock is guard.changing()
        await lock.acquire()  # and the loop ends with it
        assert guard.changing().locked()

    asyncio.run(change())
    asyncio.run(change())

    async def change_in_a_child() -> None:
        await change()
        monkeypatch.setattr(signals, "fork_count", signals.fork_count + 1)
        assert not guard.changing().locked()

    asyncio.run(change_in_a_child())


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_is_noticed() -> None:
    guard = Guard[str]("app:x")
    guard.opened("the parent's")
    pid = os.fork()
    if not pid:
        os._exit(0 if guard.current is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert guard.get() == "the parent's"


def test_a_queue_that_was_not_declared() -> None:
    error = not_declared("app:x", "q")
    assert str(error) == "queue 'q' was never declared on driver 'app:x'; declare it first"
    assert (error.driver, error.queue) == ("app:x", "q")


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
    monkeypatch.setattr(signals, "fork_count", signals.fork_count + 1)
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


@pytest.fixture
def held() -> HeldReceipts[str]:
    return HeldReceipts()


def test_deliveries_are_held_until_they_end(held: HeldReceipts[str]) -> None:
    held.hold("q", "spec", [1, 2])
    held.hold("q", "spec", [3])
    held.hold("other", "its spec", [1])
    assert not held.forget("q", [1, 3])
    assert sorted(held.all()) == [("other", "its spec", [1]), ("q", "spec", [2])]
    assert held.forget("q", [2])
    assert (held.holds("q"), held.holds("other")) == (False, True)


def test_what_is_not_held_can_be_forgotten(held: HeldReceipts[str]) -> None:
    assert held.forget("q", ["stale"])
    held.hold("q", "spec", [1])
    assert not held.forget("q", ["stale"])
    assert held.holds("q")


def test_no_delivery_holds_no_queue(held: HeldReceipts[str]) -> None:
    held.hold("q", "spec", [])
    assert not held.holds("q")
    assert held.all() == []


def test_a_deleted_queue_has_no_deliveries(held: HeldReceipts[str]) -> None:
    held.hold("q", "spec", [1])
    held.forget_queue("q")
    held.forget_queue("q")
    assert held.all() == []


def test_an_undeclared_queue_is_found_while_something_is_held(held: HeldReceipts[str], known: KnownQueues[str]) -> None:
    known.declare("q", "spec")
    held.hold("q", known.get("q"), [1, 2])
    known.forget("q")
    assert held.get("q", known) == "spec"
    held.forget("q", [1])
    assert held.get("q", known) == "spec"
    held.forget("q", [2])
    with pytest.raises(QueueNotFoundError, match="'q' was never declared"):
        held.get("q", known)


def test_the_last_declaration_holds_for_open_deliveries(held: HeldReceipts[str], known: KnownQueues[str]) -> None:
    held.hold("q", "before", [1])
    known.declare("q", "since")
    assert held.get("q", known) == "since"
    held.hold("q", "since", [2])
    known.forget("q")
    assert held.get("q", known) == "since"
