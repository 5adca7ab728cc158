"""JSON Schema (draft 2020-12) for json.validate, by a compiled library that is an extra: ``tasuki[schema]``.

Its patterns are matched in linear time, so that no schema of a script can stop the worker; references to other
documents are refused, and what it says about a value leaves the value out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError

_MOST_REASONS = 20


def validate(_: Context, schema: Any, value: Any) -> bool:
    """Check a value as it would be written; ``schema`` is a text, or a table as it came."""
    text = schema if isinstance(schema, str) else msgspec.json.encode(schema, order="deterministic").decode()
    return _check(text, msgspec.json.decode(msgspec.json.encode(value)))


def validate_text(_: Context, schema: Any, text: str | bytes) -> bool:
    """Check a text; one that is not JSON fits no schema."""
    known = schema if isinstance(schema, str) else msgspec.json.encode(schema, order="deterministic").decode()
    _compile(known)
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        raise _invalid("evaluation failed", {"reason": "the data is not JSON", "path": ""}) from None
    return _check(known, value)


def _check(schema: str, value: Any) -> bool:
    validator = _compile(schema)
    try:
        if validator.is_valid(value):
            return True
        found = [error for _, error in zip(range(_MOST_REASONS), validator.iter_errors(value), strict=False)]
    except ValueError as error:  # a reference without an end, a pattern too large
        raise _invalid(_line(error)) from None
    reasons = {_pointer(error.instance_path): error.message for error in reversed(found)}
    path = _pointer(found[0].instance_path)
    raise _invalid("evaluation failed", {"reason": reasons[path], "path": path, "reasons": reasons})


@lru_cache(100)
def _compile(schema: str) -> Any:
    try:
        import jsonschema_rs as library
    except ImportError:
        message = "json.validate needs a package that is not installed; install tasuki[schema]"
        raise HandlerError(message, kind="Internal", retryable=False) from None
    try:
        return library.Draft202012Validator(
            msgspec.json.decode(schema),
            validate_formats=False,
            retriever=_refuse,
            pattern_options=library.RegexOptions(),
            mask="the value",
        )
    except (ValueError, RecursionError) as error:
        raise _invalid(_line(error)) from None


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is another document, and those are not read")


def _pointer(path: list[str | int]) -> str:
    return "".join(f"/{part}" for part in path)


def _line(error: Exception) -> str:
    path = _pointer(getattr(error, "instance_path", []))
    return str(error).partition("\n")[0] + (f" (at {path})" if path else "")


def _invalid(message: str, details: dict[str, Any] | None = None) -> HandlerError:
    return HandlerError(message, kind="Invalid", retryable=False, details=details)


OPERATIONS = {"json.validate": validate, "json.validate_string": validate_text}
