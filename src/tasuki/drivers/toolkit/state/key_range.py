"""Keys of a prefix as a range of text in code point order, for stores that seek in an ordered index."""

from __future__ import annotations

from typing import NamedTuple

_LAST = "\U0010ffff"


class KeyRange(NamedTuple):
    """Keys from ``low`` on, and before ``high``; an empty ``high``: no end."""

    low: str
    high: str


def key_range(prefix: str, after: str = "") -> KeyRange | None:
    """The keys that begin with ``prefix`` and come after ``after``; None: no key does.

    No wildcard of any pattern language has a meaning in it.
    """
    if "\0" in prefix or not (_is_text(prefix) and _is_text(after)):
        return None
    # A key has no NUL, so this is the first text that a key after ``after`` can be.
    low = max(prefix, after.replace("\0", "\x01") + "\x01") if after else prefix
    return KeyRange(low, _end(prefix))


def _end(prefix: str) -> str:
    """The first text after all that begin with the prefix."""
    stem = prefix.rstrip(_LAST)
    if not stem:
        return ""
    last = ord(stem[-1])
    return stem[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)  # between them are the surrogates, which are no text


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
