"""The stack of a task: its coroutines, and the function that runs or blocks, also in a thread."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterable
from types import FrameType
from typing import TYPE_CHECKING, Any

from tasuki.handlers import threads
from tasuki.observe.events import STACK
from tasuki.observe.redact import redact
from tasuki.observe.tracebacks import is_ours

if TYPE_CHECKING:
    from tasuki.consumers.delivery import Delivery
    from tasuki.consumers.handling.pool import Worker

_LONGEST = 16_384
"""Characters of a stack in an event: its end, where the handler stands."""


def stacks_of(workers: Iterable[Worker], here: FrameType | None) -> list[tuple[Delivery, list[traceback.FrameSummary]]]:
    """The running deliveries, each with its handler's stack: the user's frames, or all where none is the user's."""
    busy = [(worker.delivery, worker.task) for worker in workers]
    return [(delivery, users_of(stack_of(task, here))) for delivery, task in busy if delivery and task]


def users_of(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """The frames without Tasuki's own; all of them where no others are left."""
    return [frame for frame in frames if not is_ours(frame.filename)] or frames


def stacks_as_events(workers: Iterable[Worker], now: float) -> list[dict[str, Any]]:
    """The same as events, without secrets. ``now``: Unix time."""
    return [
        {
            "at": round(now, 6),
            "kind": STACK,
            "message": delivery.received.id,
            "attempt": delivery.received.attempt,
            "value": _text(frames),
        }
        for each, frames in stacks_of(workers, None)
        for delivery in each.deliveries
    ]


def _text(frames: list[traceback.FrameSummary]) -> str:
    text = redact("".join(traceback.format_list(frames))).rstrip("\n")
    return text if len(text) <= _LONGEST else "…" + text[1 - _LONGEST :]


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
    frames += threads.frames_of(task)
    return list(traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames))


def _called_by(outer: FrameType, here: FrameType | None) -> list[FrameType]:
    """The frames between, outermost first; none if this thread is not in ``outer``."""
    frames: list[FrameType] = []
    while here is not None and here is not outer:
        frames.append(here)
        here = here.f_back
    return frames[::-1] if here is outer else []
