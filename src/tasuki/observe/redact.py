"""Mask secrets in decoded values and in texts: values of telling names, passwords in URLs, bearer tokens, keys.

``masked`` is for values, ``redact`` for texts; for a JSON document both say the same. They err on the side of masking
too much: a value that is cut off is masked whole. No text makes them slow: each part is read a few times at most.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from tasuki.observe.secrets.names import is_secret_name, may_have_secret_names
from tasuki.observe.secrets.pairs import Masker

MASK = "***"
_DEEPEST = 100
"""Levels of a value that are looked into; deeper ones are masked."""

_URL = re.compile(r"""(://[^\s:/@]*+:)(?:(?:(?!://)[^\s"'<>@])++@)++""")
_CUT_URL = re.compile(r"""(://[^\s:/@]*+:)(?!\d*+[/?]?(?:…|$))[^\s"'<>@/…]++(?=(?:…\s\(\+\d++\scharacters\))?$)""")
"""A password of which the rest and the host are cut off; digits alone are a port."""
_PLAIN = frozenset({"", "null", "none", "true", "false", "nil", "undefined", MASK})
"""Bare values that are no secret, and say something where one is missing."""
_BEARER = re.compile(r"(?i)\b(bearer\s{1,4})[\w.~+/=-]{6,}+")
_BASIC = re.compile(r"(?i)\b(basic\s{1,4})([\w+/=-]{8,}+)")
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{8,}+\.[\w-]++(?:\.[\w-]*+)?")
_PEM = re.compile(r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----)[^-]++")


def redact(text: str) -> str:
    """The text with ``***`` in the place of each likely secret; of any length, also empty, also cut off."""
    if "://" in text:
        text = _CUT_URL.sub(rf"\1{MASK}", _URL.sub(rf"\1{MASK}@", text))
    folded = text.casefold()
    if (":" in text or "=" in text) and ("\\u" in text or may_have_secret_names(folded)):
        text = Masker(text, MASK, _PLAIN).masked()
    if "bearer" in folded:
        text = _BEARER.sub(rf"\1{MASK}", text)
    if "basic" in folded:
        text = _BASIC.sub(lambda found: found[1] + MASK if _is_basic(found[2]) else found[0], text)
    if "eyJ" in text:
        text = _JWT.sub(MASK, text)
    return _PEM.sub(rf"\1{MASK}", text) if "PRIVATE KEY" in text else text


def redact_bytes(data: bytes) -> bytes:
    """The same for bytes, whether they are text or have text in them."""
    try:
        return redact(data.decode()).encode()
    except UnicodeDecodeError:
        return redact(data.decode("latin-1")).encode("latin-1")


def masked(value: Any, name: str = "", *, keeps_types: bool = False) -> Any:
    """A plain value with a mask for what stands under a telling name, and for what looks like a secret in a text.

    Args:
        value: plain data, as a codec decodes it.
        name: the field that it is the value of.
        keeps_types: whether a container under a telling name keeps its form, and a number becomes 0, so that code which
            reads the value still can; it may be nested without a bound.
    """
    top: list[Any] = [None]
    todo: list[tuple[Any, Any, Any, str, int]] = [(top, 0, value, name, 0)]
    while todo:  # without recursion: strangers nest as deep as they like
        into, at, value, name, depth = todo.pop()
        is_secret = bool(name) and is_secret_name(name)
        if is_nothing(value):
            into[at] = value
        elif not keeps_types and (is_secret or depth > _DEEPEST):
            into[at] = MASK
        elif isinstance(value, Mapping):
            into[at] = inner = dict.fromkeys(value)
            todo += [(inner, key, each, name if is_secret else str(key), depth + 1) for key, each in value.items()]
        elif isinstance(value, list | tuple):
            into[at] = items = [None] * len(value)
            todo += [(items, n, each, name if is_secret else "", depth + 1) for n, each in enumerate(value)]
        else:
            into[at] = _leaf(value, is_secret=is_secret)
    return top[0]


def _leaf(value: Any, *, is_secret: bool) -> Any:
    """A value without parts; a secret becomes one of its type."""
    if isinstance(value, str):
        return MASK if is_secret else redact(value)
    if isinstance(value, bytes):
        return MASK.encode() if is_secret else redact_bytes(value)
    return type(value)(0) if is_secret and isinstance(value, int | float) else value


def is_nothing(value: Any) -> bool:
    """Whether a value is no secret under any name, and says something where one is missing: null, false, empty."""
    return value is None or isinstance(value, bool) or (isinstance(value, str | bytes | list | dict) and not value)


def _is_basic(value: str) -> bool:
    """Whether this is a name and a password, as HTTP sends them."""
    value = value.rstrip("=")
    try:
        return b":" in b64decode(value[: len(value) // 4 * 4], validate=True)
    except ValueError:
        return False
