"""A connection that is made when it is needed: when it is used again, made again, ended, and left to the parent."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from tasuki.backoff import Backoff
from tasuki.drivers.toolkit.reconnecting import Reconnecting

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


class ClosedError(Exception):
    """For the callers of a closed one."""


class Wire:
    """A connection that notes its end."""

    def __init__(self) -> None:
        self.is_alive = True
        self.end = ""

    def abort(self) -> None:
        self.is_alive, self.end = False, "aborted"

    async def close(self) -> None:
        self.is_alive, self.end = False, "closed"


class Broker:
    """Its connections; ``failures`` attempts fail."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.attempts = 0
        self.wires: list[Wire] = []

    async def connect(self) -> Wire:
        self.attempts += 1
        await asyncio.sleep(1.0)
        if self.attempts <= self.failures:
            raise OSError(f"attempt {self.attempts}")
        self.wires.append(Wire())
        return self.wires[-1]


def connection_to(broker: Broker, **fields: Any) -> Reconnecting[Wire]:
    return Reconnecting(broker.connect, "connect", ClosedError, backoff=Backoff(1.0, jitter=0.0), **fields)


async def test_it_is_made_once_and_used_until_it_is_lost() -> None:
    only = connection_to(broker := Broker())
    assert only.connection is None
    first, again = await asyncio.gather(only.get(), only.get())
    assert first is again is only.connection is await only.get()
    first.is_alive = False
    assert only.connection is None
    assert await only.get() is broker.wires[1] is only.connection


async def test_the_usual_wait_holds_where_the_caller_says_nothing() -> None:
    only = connection_to(broker := Broker(failures=2), wait=0.0)
    with pytest.raises(OSError, match="attempt 1"):
        await only.get()
    with pytest.raises(OSError, match="attempt 1"):
        await only.get()
    assert broker.attempts == 1
    assert await only.get(10.0) is broker.wires[0]


async def test_a_close_ends_the_connection_and_there_is_none_until_it_is_opened() -> None:
    only = connection_to(broker := Broker())
    await only.get()
    await only.close()
    assert broker.wires[0].end == "closed"
    with pytest.raises(ClosedError):
        await only.get()
    await only.close()
    only.open()
    assert await only.get() is broker.wires[1]


async def test_a_close_during_an_attempt_leaves_no_connection() -> None:
    only = connection_to(broker := Broker())
    waiting = asyncio.create_task(only.get())
    await asyncio.sleep(0.5)
    await only.close()
    with pytest.raises(ClosedError):
        await waiting
    assert not broker.wires


async def test_a_connection_that_comes_in_spite_of_the_close_is_ended() -> None:
    broker = Broker()

    async def stubborn() -> Wire:
        try:
            await asyncio.sleep(1.0)
        except asyncio.CancelledError:
            pass
        return await broker.connect()

    only = Reconnecting(stubborn, "connect", ClosedError)
    waiting = asyncio.create_task(only.get())
    await asyncio.sleep(0.5)
    await only.close()
    with pytest.raises(ClosedError):
        await waiting
    assert [wire.end for wire in broker.wires] == ["aborted"]


async def test_an_abort_ends_the_connection_at_once() -> None:
    only = connection_to(broker := Broker())
    await only.get()
    only.abort()
    assert broker.wires[0].end == "aborted"
    with pytest.raises(ClosedError):
        await only.get()


async def test_a_child_process_neither_uses_nor_ends_the_connection_of_its_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only = connection_to(broker := Broker())
    inherited = await only.get()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert only.connection is None
    with pytest.raises(ClosedError):
        await only.get()
    only.abort()
    await only.close()
    only.open()
    assert await only.get() is broker.wires[1]
    assert inherited.end == ""
