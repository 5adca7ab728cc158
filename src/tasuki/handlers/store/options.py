"""The arguments of a store's verbs, checked; no I/O."""

from __future__ import annotations

import math

from tasuki.contracts.state.store import MAX_KEY_BYTES, MAX_PAGE
from tasuki.errors import HandlerError

_DEFAULT_PAGE = 100
_LONGEST = 100 * 365 * 86400.0
"""Seconds: a longer ttl is none."""


def invalid(message: str) -> HandlerError:
    """The error for a wrong argument."""
    return HandlerError(message, kind="Invalid", retryable=False)


def checked_key(key: object) -> str:
    """The key; the store checks its length."""
    if not isinstance(key, str) or not key:
        raise invalid("key is required")
    return key


def lifetime(ttl: float | None) -> float | None:
    """The ttl for the store: None, zero or less never ends."""
    return ttl if ttl is not None and 0 < ttl <= _LONGEST else None


def checked_lifetime(ttl: object) -> float | None:
    """The same, for a ttl that must not be negative."""
    if ttl is None:
        return None
    if not (_is_number(ttl) and isinstance(ttl, int | float) and ttl >= 0):
        raise invalid("ttl must be a non-negative number")
    return lifetime(ttl)


def checked_limit(limit: object) -> int:
    """How many entries a page may have: 0 is the default, and more than the most is the most."""
    if isinstance(limit, int | float) and _is_number(limit) and limit >= 0 and limit == limit // 1:
        return min(int(limit) or _DEFAULT_PAGE, MAX_PAGE)
    raise invalid("limit must be a non-negative integer")


def expected_version(only_if_absent: object, if_version: object) -> int | None:
    """The version that the key must have; 0: none; None: any."""
    if not isinstance(only_if_absent, bool):
        raise invalid("only_if_absent must be a boolean")
    version = _version(if_version)
    if only_if_absent and version:
        raise invalid("only_if_absent and if_version are mutually exclusive")
    return 0 if only_if_absent else version


def can_begin(prefix: object) -> bool:
    """Whether a key can begin with this. Raises HandlerError: it is no text."""
    if not isinstance(prefix, str):
        raise invalid("prefix must be a string")
    return _is_text(prefix) and len(prefix.encode()) <= MAX_KEY_BYTES


def checked_cursor(after: object) -> str:
    """What a page comes after."""
    if not isinstance(after, str):
        raise invalid("after must be a string")
    if not _is_text(after):
        raise invalid("after must be the cursor of a page, or a key")
    return after


def checked_tokens(tokens: object, rate: object, burst: object) -> None:
    """Refuse numbers that no bucket has."""
    if type(tokens) is not int or tokens < 0:
        raise invalid("tokens must be a non-negative integer")
    if type(burst) is not int or burst < 1:
        raise invalid("burst must be a positive integer")
    if not (_is_number(rate) and isinstance(rate, int | float) and 0 < rate < math.inf):
        raise invalid("rate must be a positive number of tokens a second")


def checked_place(holder: object, places: object, lease: object) -> None:
    """Refuse a place that cannot be held."""
    if not isinstance(holder, str) or not holder or not _is_text(holder):
        raise invalid("holder must be a text")
    if type(places) is not int or places < 1:
        raise invalid("places must be a positive integer")
    if not (_is_number(lease) and isinstance(lease, int | float) and 0 < lease <= _LONGEST):
        raise invalid("lease must be a positive number of seconds")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _is_text(value: str) -> bool:
    if "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _version(version: object) -> int | None:
    if version is None:
        return None
    text = version if isinstance(version, str) else str(version) if type(version) is int else ""
    if not (text.isascii() and text.isdigit() and 0 < int(text[:40]) < 2**63):
        raise invalid("if_version must be a positive version")
    return int(text)
