"""What a single publish costs, counted in calls of Python and C functions, in all threads."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tasuki import App

FEW, MANY = 20, 120

CALLS = {"memory": 60, "sqlite": 320}
"""Of one publish that is awaited, on 3.11 without uvloop; it takes 59 and 305, with uvloop 55 and 238."""

TOGETHER = {"memory": 104, "sqlite": 190}
"""Of each of twenty callers at once, their tasks included; it takes 101 and 154."""

SYNC = {"memory": 150, "sqlite": 350}
"""Of ``app.sync.publish``; it takes 143 and 327."""

WITH_A_HEADER = 97
"""Of one with a header in memory; it takes 95."""


class Calls:
    """Counted so far."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        if event in ("call", "c_call"):
            self.count += 1


@contextmanager
def counted() -> Iterator[Calls]:
    """The calls of this thread and of those that it starts."""
    calls = Calls()
    threading.setprofile(calls)
    sys.setprofile(calls)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def url_of(driver: str, folder: Path) -> str:
    return {"memory": "memory://", "sqlite": f"sqlite:///{folder}/queue.db"}.get(driver, driver)


async def awaited(app: App, times: int, headers: dict[str, str] | None = None) -> None:
    mails = app.queue("mails")
    async with app:
        for number in range(times):
            await mails.publish({"n": number}, headers)


async def together(app: App, times: int) -> None:
    mails = app.queue("mails")
    async with app:
        for _ in range(times // FEW):
            await asyncio.gather(*(mails.publish({"n": number}) for number in range(FEW)))


def sync(app: App, times: int) -> None:
    app.queue("mails")
    for number in range(times):
        app.sync.publish("mails", {"n": number})
    app.sync.close()


def cost(folder: Path, driver: str, way: Any) -> float:
    """Of one more publish."""
    counts = []
    for times in (FEW, FEW, MANY):  # the first one imports
        with counted() as calls:
            made = way(App(url_of(driver, folder)), times)
            if asyncio.iscoroutine(made):
                asyncio.run(made)
        counts.append(calls.count)
    return (counts[2] - counts[1]) / (MANY - FEW)


on_3_11 = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions of Python call otherwise")


@on_3_11
@pytest.mark.parametrize("driver", list(CALLS))
def test_a_publish_costs_no_more_than_its_budget(driver: str, tmp_path: Path) -> None:
    assert cost(tmp_path, driver, awaited) <= CALLS[driver]


@on_3_11
@pytest.mark.parametrize("driver", list(TOGETHER))
def test_callers_at_once_cost_no_more_than_their_budget(driver: str, tmp_path: Path) -> None:
    assert cost(tmp_path, driver, together) <= TOGETHER[driver]


@on_3_11
@pytest.mark.parametrize("driver", list(SYNC))
def test_a_blocking_publish_costs_no_more_than_its_budget(driver: str, tmp_path: Path) -> None:
    assert cost(tmp_path, driver, sync) <= SYNC[driver]


@on_3_11
def test_a_header_costs_no_more_than_its_budget(tmp_path: Path) -> None:
    async def with_a_header(app: App, times: int) -> None:
        await awaited(app, times, {"tenant": "ada"})

    assert cost(tmp_path, "memory", with_a_header) <= WITH_A_HEADER
