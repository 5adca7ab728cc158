"""Opened: whether a store is open in this process, and what each event loop has of it."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.drivers.toolkit.state.watching import Opened
from tasuki.errors import BrokerUnavailableError
from tasuki.system import forks


def test_a_store_is_refused_unless_it_is_open() -> None:
    opened: Opened[str] = Opened("state", "main")
    with pytest.raises(BrokerUnavailableError, match="store 'state' of driver 'main' is not open; open it first"):
        opened.check()
    opened.open()
    opened.check()
    opened.close()
    with pytest.raises(BrokerUnavailableError):
        opened.check()


def test_each_loop_has_its_own_until_the_close() -> None:
    opened: Opened[str] = Opened("state", "main")
    opened.open()

    async def twice() -> str:
        first = opened.here(lambda: "made here")
        assert opened.here(lambda: "made again") == first
        return first

    assert asyncio.run(twice()) == "made here"

    async def elsewhere() -> None:
        assert opened.here(lambda: "made there") == "made there"
        assert [feed for _, feed in opened.close()] == ["made there"]  # the other loop is closed
        assert opened.close() == []

    asyncio.run(elsewhere())


def test_a_fork_finds_it_closed_and_leaves_its_parents_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: Opened[str] = Opened("state", "main")
    opened.open()

    async def fork() -> None:
        opened.here(lambda: "parent's")
        monkeypatch.setattr(forks, "count", forks.count + 1)
        with pytest.raises(BrokerUnavailableError):
            opened.check()
        opened.open()
        assert opened.here(lambda: "child's") == "child's"

    asyncio.run(fork())
