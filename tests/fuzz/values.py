"""Plain values out of choices, and what Lua may make of them."""

from __future__ import annotations

import math
import struct
from typing import Any

from tasuki.errors import HandlerError
from tests.fuzz.choices import Choices

NUMBERS = (0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 0.0, -0.0, 0.1, 1e15, 1e308, 5e-324, -2.5)
TEXTS = ("", "a", "é", "\0", "\u2028", "<&>", "\U0001f600", "1", "nil", "x" * 200)


def value(choices: Choices, depth: int = 0) -> Any:  # noqa: PLR0911 - a line each
    """Anything that may be in an argument or a result."""
    shape = choices.below(11) if depth < 6 and choices.more else choices.below(5)
    if shape == 0:
        return None
    if shape == 1:
        return choices.flag()
    if shape == 2:
        return choices.pick(NUMBERS)
    if shape == 3:
        return choices.pick(TEXTS)
    if shape == 4:
        return _float(choices.take(8))
    if shape == 5:
        return choices.take(6)
    if shape == 6:
        kind, retryable = choices.pick(("", "Invalid")), choices.pick((None, True, False))
        details = {"a": choices.pick(NUMBERS), "b": {"c": choices.pick(TEXTS)}} if choices.flag() else None
        return HandlerError(choices.pick(TEXTS), kind=kind, retryable=retryable, details=details)
    if shape < 9:
        return [value(choices, depth + 1) for _ in range(choices.below(5))]
    keys: tuple[Any, ...] = (*TEXTS, 0, 1, 2, 3, -1, 10**9) if choices.flag() else TEXTS
    return {choices.pick(keys): value(choices, depth + 1) for _ in range(choices.below(5))}


def _float(data: bytes) -> float:
    number: float = struct.unpack("<d", data.ljust(8, b"\0"))[0]
    return 0.0 if math.isnan(number) else number


def through_lua(value: Any) -> Any:
    """The form in which a value comes back: no nil in tables, whole rows of numbers as lists, texts where they are."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if isinstance(value, HandlerError):
        details = through_lua(dict(value.details)) if value.details else None
        return ("error", value.message, value.kind, value.retryable, details)
    if isinstance(value, float):
        return ("float", repr(value))
    if not isinstance(value, list | dict):
        return value
    items = value.items() if isinstance(value, dict) else enumerate(value, 1)
    kept = {key: through_lua(item) for key, item in items if item is not None}
    if not kept:
        return "empty"
    rows = [key for key in kept if type(key) is int]
    if len(rows) == len(kept) and min(rows) > 0 and max(rows) <= 2 * len(rows) + 8:
        return [kept.get(row) for row in range(1, max(rows) + 1)]
    return kept
