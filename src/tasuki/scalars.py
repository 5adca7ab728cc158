"""What an unquoted YAML value means: YAML 1.2's core types, without the surprises of YAML 1.1."""

from __future__ import annotations

import math
import re

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,99}", re.ASCII)
_PADDED_INTEGER = re.compile(r"[-+]?[0-9]{1,100}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)

Scalar = None | bool | int | float | str


class Loose(str):
    """Text that is a number only where a field wants one: ``010`` stays ``010`` in a name, and is 10 in a count."""

    __slots__ = ()


class Substituted(Loose):
    """Text that came out of a placeholder: its type is the field's choice, and it may be a secret."""

    __slots__ = ()


def read_scalar(text: str) -> Scalar:
    """The value of an unquoted scalar.

    Only ``true`` and ``false`` are booleans, only decimal numbers are numbers (``1e3`` included); ``no``, ``on``,
    ``12:30:00`` and dates are text, and an integer that would not read back the same (``010``, ``+5``) is loose text.
    """
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _PADDED_INTEGER.fullmatch(text):
        return Loose(text)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def settle(value: object) -> object:
    """The number or boolean that loose text spells, for a field that wants one; anything else unchanged."""
    if not isinstance(value, Loose):
        return value
    if _PADDED_INTEGER.fullmatch(value):
        return int(value)
    read = read_scalar(value) if isinstance(value, Substituted) else value
    return value if read is None else read
