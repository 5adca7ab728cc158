"""Counts the bytecode instructions that our code executes: the same on every machine, however busy it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any


class Count:
    """Instructions executed so far, and how often each function was entered or resumed."""

    def __init__(self) -> None:
        self.instructions = 0
        self.entered: dict[str, int] = {}


@contextmanager
def counting(*folders: str) -> Iterator[Count]:
    """Count what this thread executes of the files whose path contains one of ``folders``."""
    count = Count()
    with _monitored(count, folders) if hasattr(sys, "monitoring") else _traced(count, folders):
        yield count


@contextmanager
def _traced(count: Count, folders: tuple[str, ...]) -> Iterator[None]:
    def enter(frame: FrameType, event: str, arg: Any) -> Any:
        if not any(folder in frame.f_code.co_filename for folder in folders):
            return None
        name = frame.f_code.co_qualname
        count.entered[name] = count.entered.get(name, 0) + 1
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return step

    def step(frame: FrameType, event: str, arg: Any) -> Any:
        count.instructions += event == "opcode"
        return step

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def _monitored(count: Count, folders: tuple[str, ...]) -> Iterator[None]:
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    events, tool = monitoring.events, 4

    def enter(code: CodeType, offset: int) -> Any:
        if not any(folder in code.co_filename for folder in folders):
            return monitoring.DISABLE
        count.entered[code.co_qualname] = count.entered.get(code.co_qualname, 0) + 1
        return None

    def step(code: CodeType, offset: int) -> Any:
        if not any(folder in code.co_filename for folder in folders):
            return monitoring.DISABLE
        count.instructions += 1
        return None

    monitoring.use_tool_id(tool, "tasuki instructions")
    monitoring.register_callback(tool, events.PY_START, enter)
    monitoring.register_callback(tool, events.PY_RESUME, enter)
    monitoring.register_callback(tool, events.INSTRUCTION, step)
    monitoring.set_events(tool, events.PY_START | events.PY_RESUME | events.INSTRUCTION)
    try:
        yield
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)
        monitoring.restart_events()
