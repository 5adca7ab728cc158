"""Frames: tracebacks that show the user's code, and leave out Tasuki's own."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from traceback import StackSummary, TracebackException, walk_tb
from types import TracebackType
from typing import TypeVar

from tasuki.errors import BodyTypeError, CodecError, PublishError

E = TypeVar("E", bound=BaseException)

_log = logging.getLogger("tasuki")
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_PLUMBING = tuple(os.path.join(os.path.dirname(os.__file__), name) + os.sep for name in ("asyncio", "concurrent"))
"""The parts of Python through which an error passes from one loop or thread to another."""
_NOT_OURS = os.path.join(_OURS, "cli", "template") + os.sep
"""What ``tasuki init`` copies is the user's."""


def format_error(error: BaseException) -> str:
    """The traceback of an error and of its causes; if frames are left out, its last line says how many.

    An error that has passed no code of the user's keeps all of its frames.
    """
    shown = TracebackException.from_exception(error)
    left_out = _strip(shown)
    return "".join(shown.format()) + (f"({count_of(left_out)} of Tasuki's own code left out)\n" if left_out else "")


def user_traceback(error: BaseException, limit: int) -> str:
    """The end of the same traceback; empty if the error has passed no code of the user's."""
    shown = TracebackException.from_exception(error)
    if not any(not is_ours(frame.filename) for each in _chain(shown) for frame in each.stack or ()):
        return ""
    _strip(shown)
    text = "".join(shown.format()).rstrip("\n")
    return text if len(text) <= limit else "…" + text[1 - limit :]


def for_user(error: E) -> E:
    """The error and its causes, without the frames that they passed on the way to the user's code.

    A traceback with a frame of other code stays, and at the level DEBUG every one.
    """
    each: BaseException | None = None if _log.isEnabledFor(logging.DEBUG) else error
    seen = set()  # ``raise error from error`` makes a circle
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        frames = (frame for frame, _ in walk_tb(each.__traceback__))
        if all(is_ours(file := frame.f_code.co_filename) or file.startswith(_PLUMBING) for frame in frames):
            each.__traceback__ = None
        each = each.__cause__
    return error


def from_user(error: BaseException | None) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
    """What a log record keeps of an error: its traceback begins at the user's code, whichever formatter writes it."""
    if error is None:
        return None
    first = error.__traceback__
    while first is not None and is_ours(first.tb_frame.f_code.co_filename):
        first = first.tb_next
    return type(error), error, first or error.__traceback__


def cause_for_user(error: BaseException) -> BaseException | None:
    """The cause that is worth showing; None of a mistake of the caller's, whose text says all there is."""
    return None if isinstance(error, PublishError | CodecError | BodyTypeError) else error.__cause__


def is_ours(file: str) -> bool:
    """Whether a source file is of this package."""
    return file.startswith(_OURS) and not file.startswith(_NOT_OURS)


def _strip(shown: TracebackException) -> int:
    """Take our frames out, where others stay; returns how many."""
    chain = list(_chain(shown))
    if all(is_ours(frame.filename) for each in chain for frame in each.stack or ()):
        return 0
    left_out = 0
    for each in chain:
        kept = [frame for frame in each.stack or () if not is_ours(frame.filename)]
        left_out += len(each.stack or ()) - len(kept)
        each.stack = StackSummary.from_list(kept)
    return left_out


def _chain(shown: TracebackException) -> Iterator[TracebackException]:
    todo, seen = [shown], {id(shown)}
    while todo:
        each = todo.pop()
        yield each
        context = None if each.__suppress_context__ else each.__context__
        inner = [each.__cause__, context, *(each.exceptions or ())]
        for one in inner:
            if one is not None and id(one) not in seen:
                seen.add(id(one))
                todo.append(one)


def count_of(frames: int) -> str:
    """The number of frames, in words."""
    return "1 frame" if frames == 1 else f"{frames} frames"
