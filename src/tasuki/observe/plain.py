"""Any value as plain data that is safe to print: bounded, without secrets, without control characters.

It never raises, whatever the objects do: a log line must not fail a delivery.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from tasuki.observe.redact import MASK, is_nothing, is_secret_name, redact

MAX_TEXT = 8_192
"""Longest text of one value, in characters."""
MAX_ITEMS = 50
MAX_DEPTH = 4
_READ_AHEAD = 8
"""How many times the limit of a text is masked before it is cut: a mask is shorter than most secrets."""

# Control characters (C0, C1, DEL), line and paragraph separators, what turns the direction of text (a forged line can
# hide behind it), byte-order marks, and lone surrogates, which cannot be encoded.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def text_width(text: str) -> int:
    """How wide a text is, as letters of a fixed width; letters of East Asia are two wide."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def escape(text: str) -> str:
    r"""The text on one line: ``\n`` for a line feed, ``\x1b`` for an escape, ``\u202e`` for a change of direction."""
    return _UNSAFE.sub(_escape_one, text)


def escape_lines(text: str) -> str:
    """Escape control characters except line breaks and tabs."""
    return _UNSAFE.sub(lambda found: found[0] if found[0] in "\n\t" else _escape_one(found), text)


def escape_json(document: str) -> str:
    r"""The JSON document with ``\u202e`` and the like for what ``escape`` escapes: it means the same."""
    return _UNSAFE.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", document)


def cut(text: str, limit: int = MAX_TEXT) -> str:
    """The text, or its first ``limit`` characters and how many are missing."""
    return text if len(text) <= limit else f"{text[:limit]}… (+{len(text) - limit} characters)"


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """The text without secrets, cut; control characters are still in it."""
    shown = redact(text[: limit * _READ_AHEAD])
    if len(text) <= limit * _READ_AHEAD:
        return cut(shown, limit)
    return f"{shown[:limit]}… (+{len(text) - limit} characters)"


def to_text(value: object) -> str:
    """``str(value)``; of an object that fails at it, its type."""
    try:
        return str(value)
    except Exception as error:
        return f"<{type(value).__name__}: its text raises {type(error).__name__}>"


def to_plain(value: Any, *, name: str = "", depth: int = MAX_DEPTH) -> Any:
    """The value as text, numbers, booleans, None, lists and dicts with text keys, for JSON.

    A field whose ``name`` suggests a secret is masked; values deeper than ``depth`` become text.
    """
    if name and is_secret_name(name) and not is_nothing(value):
        return MASK
    if type(value) is str:
        return clean(value)
    if value is None or isinstance(value, bool):
        return value
    if type(value) is int and -(2**63) <= value < 2**64:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    try:
        return _container(value, depth)
    except Exception as error:
        return f"<{type(value).__name__}: raises {type(error).__name__}>"


def _container(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping) and depth:
        pairs = [(to_text(key), item) for key, item in _first(value.items())]
        plain = {clean(key, 256): to_plain(item, name=key, depth=depth - 1) for key, item in pairs}
        return plain if len(value) <= MAX_ITEMS else plain | {"…": f"+{len(value) - MAX_ITEMS}"}
    if isinstance(value, list | tuple | set | frozenset) and depth:
        items = [to_plain(item, depth=depth - 1) for item in _first(value)]
        return items if len(value) <= MAX_ITEMS else [*items, f"… +{len(value) - MAX_ITEMS}"]
    return clean(to_text(value))


def _first(items: Any) -> list[Any]:
    return [item for item, _ in zip(items, range(MAX_ITEMS), strict=False)]


def _escape_one(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
