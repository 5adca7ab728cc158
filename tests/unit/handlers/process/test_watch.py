"""When a child is killed: its processor time alone decides, never the clock on the wall."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.handlers.process.process import Watch

pytestmark = pytest.mark.anyio


class Process:
    """Has used what the test says."""

    def __init__(self) -> None:
        self.used = 5.0

    def processor_time(self) -> float:
        return self.used


class Case:
    """A watch with a limit of one second (and a quarter of grace), looked at by hand."""

    def __init__(self, seconds: float | None = 1.0) -> None:
        self.process = Process()
        self.late = 0
        process: Any = self.process
        self.watch = Watch(process, seconds, self._on_late)

    def _on_late(self) -> None:
        self.late += 1

    def look(self, used: float, *, proven: bool = False) -> int:
        self.process.used += used
        self.watch.proven = proven
        self.watch._look()
        return self.late


async def test_a_step_may_use_its_limit_and_a_little() -> None:
    case = Case()
    case.watch.begin(1)
    assert case.look(1.2) == 0
    assert case.look(0.1) == 1


async def test_a_child_that_waits_uses_nothing_and_lives() -> None:
    case = Case()
    case.watch.begin(1)
    for _ in range(100):
        assert case.look(0.0) == 0


async def test_a_frame_ends_a_step() -> None:
    case = Case()
    for number in range(1, 4):
        case.watch.begin(number)
    assert case.look(1.0) == 0
    assert case.look(0.2, proven=True) == 0
    assert case.look(1.2) == 0
    assert case.look(0.1) == 1


async def test_frames_do_not_lengthen_the_limits_of_all_calls_together() -> None:
    case = Case()
    case.watch.begin(1)
    assert case.look(1.0, proven=True) == 0
    assert case.look(0.3, proven=True) == 1, "one call, 1.3 seconds"
    case = Case()
    case.watch.begin(1)
    case.watch.begin(2)
    case.watch.end(2)
    assert case.look(1.2, proven=True) == 0
    assert case.look(1.2, proven=True) == 0, "the other one has used its part"
    assert case.look(0.2, proven=True) == 1


async def test_calls_that_are_over_do_not_count_against_new_ones() -> None:
    case = Case()
    for number in range(10):
        case.watch.begin(number)
        case.process.used += 1.0
        case.watch.end(number)
    case.watch.begin(10)
    assert case.look(1.2, proven=True) == 0
    assert case.look(0.2, proven=True) == 1


async def test_without_a_limit_nobody_looks() -> None:
    case = Case(None)
    case.watch.begin(1)
    with case.watch.boot():
        pass
    case.watch.end(1)
    assert case.look(1000.0) == 0


async def test_a_boot_has_time_for_imports() -> None:
    case = Case()
    with case.watch.boot():
        assert case.look(20.0) == 0
        assert case.look(20.0) == 1
    case.watch.stop()
