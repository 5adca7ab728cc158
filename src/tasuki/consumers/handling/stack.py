"""Where a task stands, from its outermost coroutine to the function that it waits for or computes in."""

from __future__ import annotations

import asyncio
import traceback
from types import FrameType
from typing import Any


def stack_of(task: asyncio.Task[Any], here: FrameType | None) -> list[traceback.FrameSummary]:
    """The frames, outermost first; ``here``: where the thread stands, which may be in the middle of the task.

    ``Task.get_stack`` knows only the outermost frame of a task that waits.
    """
    frames: list[FrameType] = []
    waiting: Any = task.get_coro()
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)
        if frame is not None:
            frames.append(frame)
            if getattr(waiting, "cr_running", False):  # it waits for nothing: what it has called, the thread knows
                frames += _called_by(frame, here)
                break
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)
    return list(traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames))


def _called_by(outer: FrameType, here: FrameType | None) -> list[FrameType]:
    """The frames between, outermost first; none if this thread is not in ``outer``."""
    frames: list[FrameType] = []
    while here is not None and here is not outer:
        frames.append(here)
        here = here.f_back
    return frames[::-1] if here is outer else []
