"""Tracebacks that are kept: the user's frames without secrets, made once for each way through the code.

A thousand messages that fail at one line differ in the text of the error alone, so the frames before it are cached.
"""

from __future__ import annotations

from collections.abc import Iterator
from traceback import StackSummary, extract_tb
from types import CodeType, TracebackType
from typing import NamedTuple

from tasuki.errors import HandlerError
from tasuki.observe.frames import is_ours, user_traceback
from tasuki.observe.redact import redact

MOST_WAYS = 512
"""Ways that are kept; when there are more, all are forgotten."""
_DEEPEST = 16
"""Causes of an error that are shown by the cache; a longer chain is shown without it."""
_LONGEST = 8192
"""Characters of an error's own text that are looked through for secrets."""
_HEAD = "Traceback (most recent call last):\n"
_CAUSE = "\n\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\n\nDuring handling of the above exception, another exception occurred:\n\n"
_SPECIAL = (BaseExceptionGroup, SyntaxError)
"""Errors whose text has more than one part."""

Way = tuple[tuple[CodeType, int], ...]
"""The frames of a traceback: the code of each, and where in it."""


class _Shown(NamedTuple):
    frames: str
    """Without secrets; ends with a line break."""
    is_users: bool
    """Whether one of them is of the user's code."""


_ways: dict[Way, _Shown] = {}


def kept_traceback(error: BaseException, limit: int) -> str:
    """The end of an error's traceback, at most ``limit`` characters, without secrets.

    Of an error of another process its own. Empty if the error has passed no code of the user's.
    """
    try:
        if isinstance(error, HandlerError) and error.traceback:
            return redact(error.traceback[-limit:])
        chain = list(_chain(error))
        if len(chain) > _DEEPEST or any(_is_special(each) for each, _ in chain):
            return redact(user_traceback(error, limit))
        text = _text(chain)
    except Exception:  # an error whose text or causes raise: the letter must go all the same
        return ""
    return text if len(text) <= limit else "…" + text[1 - limit :]


def _text(chain: list[tuple[BaseException, str]]) -> str:
    """The error that comes last in the chain stands first."""
    shown = [_shown(each.__traceback__) for each, _ in chain]
    if not any(each.is_users for each in shown):
        return ""
    parts = [
        f"{joined}{_HEAD}{frames.frames}{redact(_last_line(each))}"
        for (each, joined), frames in zip(chain, shown, strict=True)
    ]
    return "".join(reversed(parts))


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


def _is_special(error: BaseException) -> bool:
    return isinstance(error, _SPECIAL) or bool(getattr(error, "__notes__", None))


def _last_line(error: BaseException) -> str:
    kind, text = type(error), str(error)[:_LONGEST]
    module = kind.__module__
    name = kind.__qualname__ if module in ("builtins", "__main__") else f"{module}.{kind.__qualname__}"
    return f"{name}: {text}" if text else name


def _shown(traceback: TracebackType | None) -> _Shown:
    way = _way(traceback)
    shown = _ways.get(way)
    if shown is None:
        frames = [frame for frame in extract_tb(traceback) if not is_ours(frame.filename)]
        shown = _Shown(redact("".join(StackSummary.from_list(frames).format())), bool(frames))
        if len(_ways) >= MOST_WAYS:
            _ways.clear()
        _ways[way] = shown
    return shown


def _way(traceback: TracebackType | None) -> Way:
    found = []
    while traceback is not None:
        found.append((traceback.tb_frame.f_code, traceback.tb_lasti))
        traceback = traceback.tb_next
    return tuple(found)
