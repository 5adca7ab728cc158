"""Compare plain values as policies do: a text that spells a number equals this number, but no other text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)
_MAX_NUMBER = 64
"""Longest text that counts as a number; a longer one is compared as text."""


class ComparisonError(Exception):
    """Two values that cannot be compared in this way."""


def number(value: Any) -> Decimal | None:
    """The exact number that a value is or spells; None for anything else, NaN and infinities included."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    if isinstance(value, str) and len(value) <= _MAX_NUMBER and _NUMBER.fullmatch(value):
        return Decimal(value)
    return None


def text(value: Any) -> str | None:
    """A text, number or boolean as text; None for other types."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return format(Decimal(value), "f")
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f").removesuffix(".0") if math.isfinite(value) else str(value)
    return None


def equals(left: Any, right: Any) -> bool:
    """Compare numerically where both are numbers or spell one, else as text; a missing value equals nothing.

    Raises:
        ComparisonError: one is a list or a mapping.
    """
    if left is None or right is None:
        return False
    if is_container(left) or is_container(right):
        raise ComparisonError("a list or a mapping cannot be compared with eq; use in or contains")
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    first, second = number(left), number(right)
    if first is not None and second is not None:
        return first == second
    words = text(left)
    return words is not None and words == text(right)


def is_container(value: Any) -> bool:
    """Whether it is a list or a mapping."""
    return isinstance(value, list | tuple | Mapping)


def order(left: Any, right: Any) -> int:
    """-1, 0 or 1: numbers only. Raises ComparisonError for anything else."""
    first, second = number(left), number(right)
    if first is None or second is None:
        raise ComparisonError("only numbers can be compared by size")
    return (first > second) - (first < second)


def contains(whole: Any, part: Any) -> bool:
    """Whether a text has a text in it, or a list an equal item. Raises ComparisonError for anything else."""
    first, second = text(whole), text(part)
    if first is not None and second is not None:
        return second in first
    if isinstance(whole, list | tuple):
        return any(equals(item, part) for item in whole if not is_container(item))
    raise ComparisonError("contains needs a text or a list on its left")


def is_in(value: Any, collection: Any) -> bool:
    """Whether a value equals an item of a list; a text counts as a list of one. Raises ComparisonError."""
    if isinstance(collection, str):
        return equals(value, collection)
    if not isinstance(collection, list | tuple):
        raise ComparisonError("in needs a list on its right")
    return any(equals(value, item) for item in collection if not is_container(item))
