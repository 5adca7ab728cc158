"""Cause: a short fingerprint of the error of a dead letter, equal for errors that differ only in numbers and names."""

from __future__ import annotations

import re
from hashlib import blake2s

MAX_LINE = 500
"""Characters of an error that count; cut before any pattern runs, so that no text takes long."""
NAMING = frozenset(
    {
        "KeyError",
        "AttributeError",
        "NameError",
        "UnboundLocalError",
        "ImportError",
        "ModuleNotFoundError",
        "TypeError",
    }
)
"""Types of errors that quote names of the code or of the data's fields: another name is another cause."""
_NAME = re.compile(r"[^\W\d][\w.-]{0,79}")
_SEGMENT = r"[\w.@%+=~-]{1,255}"
_QUOTED = "<text>"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]{1,20}://\S+"), "<url>"),
    (re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"), "<email>"),
    (re.compile(rf"(?<![\w.@%+=~/\\<-])(?:[A-Za-z]:)?[\\/]?{_SEGMENT}(?:[\\/]{_SEGMENT})+[\\/]?"), "<path>"),
    (
        # A mark after a letter is an apostrophe: the words of "can't … don't" stay.
        re.compile(r"""(?:^|(?<=[\s(\[{<]))(?:'[^']{0,200}'|"[^"]{0,200}")|«[^»]{0,200}»|「[^」]{0,200}」"""),
        _QUOTED,
    ),
    (
        re.compile(
            r"(?<!\w)(?:0x[0-9a-f]+|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{12,})(?!\w)", re.IGNORECASE
        ),
        "<hex>",
    ),
    (re.compile(r"(?:(?<=\s)[-+])?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?"), "<n>"),
)
"""In this order: a later pattern sees what an earlier one left."""


def _unless_name(found: re.Match[str]) -> str:
    return found[0] if _NAME.fullmatch(found[0][1:-1]) else _QUOTED


_OF_NAMES = tuple((pattern, _unless_name if word == _QUOTED else word) for pattern, word in _PATTERNS)


def cause_of(reason: str, error_type: str, place: str, error: str) -> str:
    """Twelve hexadecimal digits; ``error``: the text of the error, of any length."""
    parts = (reason, error_type, place, normalized(error, error_type))
    return blake2s("\0".join(parts).encode("utf-8", "replace"), digest_size=6).hexdigest()


def normalized(error: str, error_type: str = "") -> str:
    """The first line of an error, with a word in the place of each address, path, quotation and number.

    Quoted names stay in errors of a type that is about names.
    """
    line = first_line(error)
    for pattern, word in _OF_NAMES if error_type.rpartition(".")[2] in NAMING else _PATTERNS:
        line = pattern.sub(word, line)
    return line


def first_line(error: str) -> str:
    """The first line that is not empty, cut."""
    lines = error.lstrip()[:MAX_LINE].splitlines()
    return lines[0].rstrip() if lines else ""
