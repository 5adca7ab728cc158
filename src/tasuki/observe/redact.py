"""Mask secrets in text: passwords in URLs, values of telling names, bearer tokens, private keys.

It errs on the side of masking too much: of a value that is cut off nothing is left. No text makes it slow: a pattern is
bounded, or takes what it has read, so that nothing is read twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

MASK = "***"
_DEEPEST = 20
"""Levels of a value that are looked into."""

_NAMES = (
    r"password|passwd|passphrase|(?<![a-z])pass|pwd|secret|token|credentials?|cookie|authorization|signature|dsn"
    r"|(?:api|access|secret|private|account|signing|encryption)[_-]?key(?:[_-]?id)?"
)
_PARTS = ("pass", "pwd", "secret", "token", "credential", "cookie", "authorization", "signature", "dsn", "key")
"""Each of the names has one of these in it: texts without them need no slow search."""
_SECRET_NAME = re.compile(rf"(?i)(?:{_NAMES})$|password")
_URL = re.compile(r"(://[^\s:/@]{0,256}:)[^\s\"'<>]{1,512}@")
_PAIR = re.compile(
    rf"""(?ix)
    ((?:{_NAMES}) \\{{0,4}} ["']? \s{{0,4}} [=:] \s{{0,4}} (?:(?:bearer|basic|digest)\s{{1,4}})? )
    (?:
        "(?:[^"\\]|\\.)*+" | '(?:[^'\\]|\\.)*+'                # quoted
        | "(?:[^"\\\n]|\\.)++\\? | '(?:[^'\\\n]|\\.)++\\?      # quoted, and cut off
        | (?P<escaped>\\{{1,4}}["']) (?:.*?(?P=escaped)|.*)  # quoted within a quoted text
        | \\{{0,4}} ["']? [^\s,;&{{}}\[\]()"'\\]++            # bare
    )
    """
)
_BEARER = re.compile(r"(?i)\b(bearer\s{1,4})[\w.~+/=-]{6,}+")
_PEM = re.compile(r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----)[^-]++")


def redact(text: str) -> str:
    """The text with ``***`` in the place of each likely secret; of any length, also empty."""
    if "://" in text:
        text = _URL.sub(rf"\1{MASK}@", text)
    folded = text.casefold()
    if ":" in text or "=" in text:
        for part in _PARTS:
            if part in folded:
                text = _PAIR.sub(_mask_value, text)
                break
    if "bearer" in folded:
        text = _BEARER.sub(rf"\1{MASK}", text)
    return _PEM.sub(rf"\1{MASK}", text) if "PRIVATE KEY" in text else text


def redact_bytes(data: bytes) -> bytes:
    """The same for bytes, whether they are text or have text in them."""
    try:
        return redact(data.decode()).encode()
    except UnicodeDecodeError:
        return redact(data.decode("latin-1")).encode("latin-1")


@lru_cache(1024)
def is_secret_name(name: str) -> bool:
    """Whether a field of this name (``password``, ``apiKey``, ``db_token``) holds a secret."""
    return _SECRET_NAME.search(name) is not None


def masked(value: Any, depth: int = 0) -> Any:
    """A plain value with a mask for what stands under a telling name, and for what looks like a secret in a text."""
    if isinstance(value, str):
        return redact(value)
    if depth > _DEEPEST:
        return MASK
    if isinstance(value, Mapping):
        return {name: MASK if is_secret_name(str(name)) else masked(each, depth + 1) for name, each in value.items()}
    return [masked(each, depth + 1) for each in value] if isinstance(value, list | tuple) else value


def _mask_value(match: re.Match[str]) -> str:
    value = match[0][len(match[1]) :]
    quote = match["escaped"] or (value[0] if value[0] in "\"'" and value[-1] == value[0] else "")
    return f"{match[1]}{quote}{MASK}{quote}"
