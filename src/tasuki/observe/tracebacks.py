"""Tracebacks that show the user's frames without Tasuki's own, and without secrets; formatted once for each path.

A thousand messages that fail at one line differ in the text of the error alone, so the frames before it are cached.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from traceback import FrameSummary, StackSummary, TracebackException, extract_tb, walk_tb
from types import CodeType, TracebackType
from typing import NamedTuple, TypeVar

from tasuki.errors import BodyTypeError, CodecError, HandlerError, PublishError, safe_text
from tasuki.observe.redact import redact

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
    if not any(not is_ours(frame.filename) for each in _shown_chain(shown) for frame in each.stack or ()):
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
    chain = list(_shown_chain(shown))
    if all(is_ours(frame.filename) for each in chain for frame in each.stack or ()):
        return 0
    left_out = 0
    for each in chain:
        kept = [frame for frame in each.stack or () if not is_ours(frame.filename)]
        left_out += len(each.stack or ()) - len(kept)
        each.stack = StackSummary.from_list(kept)
    return left_out


def _shown_chain(shown: TracebackException) -> Iterator[TracebackException]:
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


MOST_WAYS = 512
"""Ways that are kept; when there are more, all are forgotten."""

_DEEPEST = 16
"""Causes of an error that are shown by the cache; a longer chain is shown without it."""

_HEAD = "Traceback (most recent call last):\n"

_CAUSE = "\n\nThe above exception was the direct cause of the following exception:\n\n"

_CONTEXT = "\n\nDuring handling of the above exception, another exception occurred:\n\n"

_SAID_BY_PYTHON = (SyntaxError, NameError, AttributeError, ImportError)
"""Errors to whose text Python adds something: a line of code, or what may have been meant."""


Way = tuple[int, ...]
"""The frames of a traceback: of each the identity of its code, and where in it."""


class _Shown(NamedTuple):
    """Frames without secrets; each text ends with a line break, or is empty."""

    users: str
    """Of the user's code."""
    all: str
    ours: int
    """How many are Tasuki's."""
    codes: tuple[CodeType, ...]
    """Keeps them alive, so that no other code gets the identity of one."""


_ways: dict[Way, _Shown] = {}


def shown_traceback(error: BaseException, limit: int) -> str:
    """As ``format_error``, without secrets; of a text much longer than ``limit`` characters the end."""
    if (chain := _plain_chain(error)) is None:
        return redact(format_error(error)[-2 * limit :])
    shown = [_shown(each.__traceback__) for each, _ in chain]
    if not any(each.users for each in shown):
        return _joined(chain, [each.all for each in shown], limit) + "\n"
    left_out = sum(each.ours for each in shown)
    text = _joined(chain, [each.users for each in shown], limit)
    return f"{text}\n({count_of(left_out)} of Tasuki's own code left out)\n" if left_out else f"{text}\n"


def kept_traceback(error: BaseException, limit: int) -> str:
    """The end of an error's traceback, at most ``limit`` characters, without secrets.

    Of an error of another process its own. Empty if the error has passed no code of the user's.
    """
    try:
        if isinstance(error, HandlerError) and error.traceback:
            return redact(error.traceback[-limit:])
        if (chain := _plain_chain(error)) is None:
            return redact(user_traceback(error, limit))
        shown = [_shown(each.__traceback__).users for each, _ in chain]
        text = _joined(chain, shown, limit) if any(shown) else ""
    except Exception:  # an error whose text or causes raise: the letter must go all the same
        return ""
    return text if len(text) <= limit else "…" + text[1 - limit :]


def _joined(chain: list[tuple[BaseException, str]], frames: list[str], limit: int) -> str:
    """The error that comes last in the chain stands first."""
    # The end tells what happened. Twice as much is redacted, since a secret cut in two would not be recognised.
    parts = [
        f"{joined}{_HEAD}{shown}{redact(_last_line(each, 2 * limit))}"
        for (each, joined), shown in zip(chain, frames, strict=True)
    ]
    return "".join(reversed(parts))


def _plain_chain(error: BaseException) -> list[tuple[BaseException, str]] | None:
    """The error and its causes; None: they are too many, or errors that consist of others."""
    chain = list(_chain(error))
    is_special = len(chain) > _DEEPEST or any(isinstance(each, BaseExceptionGroup) for each, _ in chain)
    return None if is_special else chain


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """The error and what led to it, each with the words that join it to the one before it in time."""
    seen: set[int] = set()  # ``raise error from error`` makes a circle
    each: BaseException | None = error
    while each is not None and id(each) not in seen and len(seen) <= _DEEPEST:
        seen.add(id(each))
        cause, context = each.__cause__, None if each.__suppress_context__ else each.__context__
        earlier = cause if cause is not None else context
        has_earlier = earlier is not None and id(earlier) not in seen
        yield each, "" if not has_earlier else _CAUSE if cause is not None else _CONTEXT
        each = earlier


def _last_line(error: BaseException, most: int) -> str:
    """The type and the end of the text of an error; more than a line if it has notes."""
    if isinstance(error, _SAID_BY_PYTHON) or getattr(error, "__notes__", None):
        said = TracebackException(type(error), error, error.__traceback__, limit=0, compact=True)
        return "".join(said.format_exception_only()).rstrip("\n")[-most:]
    kind, text = type(error), safe_text(error)[-most:]
    module = kind.__module__
    name = kind.__qualname__ if module in ("builtins", "__main__") else f"{module}.{kind.__qualname__}"
    return f"{name}: {text}" if text else name


def _shown(traceback: TracebackType | None) -> _Shown:
    way = _way(traceback)
    shown = _ways.get(way)
    if shown is None:
        frames = extract_tb(traceback)
        users = [frame for frame in frames if not is_ours(frame.filename)]
        codes = tuple(frame.f_code for frame, _ in walk_tb(traceback))
        shown = _Shown(_formatted(users), _formatted(frames), len(frames) - len(users), codes)
        if len(_ways) >= MOST_WAYS:
            _ways.clear()
        _ways[way] = shown
    return shown


def _formatted(frames: list[FrameSummary]) -> str:
    return redact("".join(StackSummary.from_list(frames).format()))


def _way(traceback: TracebackType | None) -> Way:
    found: list[int] = []
    while traceback is not None:
        found += (id(traceback.tb_frame.f_code), traceback.tb_lasti)
        traceback = traceback.tb_next
    return tuple(found)
