"""Open, declared, ours after a fork: one answer of all drivers."""

from __future__ import annotations

import asyncio
import os

import pytest

from tasuki.drivers.toolkit import guard as guards
from tasuki.drivers.toolkit.guard import Guard, not_declared
from tasuki.errors import BrokerUnavailableError
from tasuki.system import forks


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
    monkeypatch.setattr(forks, "count", forks.count + 1)
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
    monkeypatch.setattr(forks, "count", forks.count + 1)
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
        monkeypatch.setattr(forks, "count", forks.count + 1)
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
