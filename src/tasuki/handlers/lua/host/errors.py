"""Errors between Lua and Python: what a script raised or returned, and what a host function failed with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tasuki.errors import (
    DriverError,
    HandlerError,
    LuaError,
    LuaLimitError,
    LuaSyntaxError,
    PolicyDeniedError,
    PublishError,
    QueueFullError,
    QueueNotFoundError,
    ReturnedTextError,
    StorageFullError,
    TasukiError,
)
from tasuki.handlers.lua.host.outbound import build
from tasuki.handlers.lua.modules import MODULES
from tasuki.handlers.lua.script import LuaLimits
from tasuki.handlers.process.failure import plain_details, plain_text

_NIL_GLOBAL = re.compile(r"attempt to (?:index|call) a nil value \(global '(\w+)'\)$")
_ABSENT = frozenset({"io", "debug", "package", "dofile", "loadfile", "load", "loadstring", "collectgarbage"})
_TEXTS = {QueueNotFoundError: "queue not found", QueueFullError: "queue is full", StorageFullError: "queue is full"}


def returned(reply: Sequence[Any]) -> HandlerError:
    """The error for a second result: a text, or an error object with kind, retryable and details."""
    _, message, kind, retryable, shape, *values = reply
    if kind is None:
        return ReturnedTextError(message, kind="Internal", retryable=False)
    return HandlerError(message, kind=kind or "Internal", retryable=retryable, details=_details(shape, values))


def raised(reply: Sequence[Any]) -> LuaError:
    """The error for what the script raised; an error object keeps its kind, retryable and details."""
    _, message, trace, kind, retryable, shape, *values = reply
    if kind == "LuaSyntax":
        return LuaSyntaxError(message, kind="Invalid", retryable=False)
    message += _hint_for_nil(message)
    trace = script_trace(message, trace)
    details = _details(shape, values)
    return LuaError(message, kind=kind or "Internal", retryable=retryable, details=details, traceback=trace)


def _hint_for_nil(message: str) -> str:
    """What to write where a script uses a module that it has not required, or a part of Lua that the sandbox lacks."""
    found = _NIL_GLOBAL.search(message)
    if found is None:
        return ""
    name = found[1]
    if name in MODULES:
        return f'; {name} is a module: write local {name} = require("{name}"), and list it in modules of the entry'
    return f"; the sandbox has no {name}" if name in _ABSENT else ""


def limited(reply: Sequence[Any], limits: LuaLimits) -> LuaLimitError:
    """The error for a script that a limit ended, at the line where it was."""
    _, limit, position, trace = reply
    message = position + limits.describe(limit)
    return LuaLimitError(message, limit=limit, traceback=script_trace(message, trace))


def _details(shape: Any, values: Sequence[Any]) -> dict[str, Any] | None:
    details = build(shape, values)[0] if shape else None
    return details if isinstance(details, dict) else None


def script_trace(message: str, trace: str) -> str:
    """The traceback with the script's frames only."""
    frames = [line.strip() for line in trace.splitlines()[1:]]
    kept = [f"  {line}" for line in frames if not line.startswith(("host:", "[C]: in ?"))]
    return "\n".join([message, *kept])


def describe(error: Exception) -> dict[str, Any]:
    """The fields of the error object that a host function's failure becomes: message, kind, retryable, details.

    All of them can cross to Lua: an error that could not would end the script, not reach it.
    """
    fields = _fields(error)
    return {**fields, "message": plain_text(fields["message"])}


def _fields(error: Exception) -> dict[str, Any]:
    if isinstance(error, HandlerError):
        details = plain_details(error.details)
        fields = {"message": error.message, "kind": error.kind, "retryable": error.retryable, "details": details}
        return {name: value for name, value in fields.items() if value is not None}
    if isinstance(error, DriverError):
        fields = {"message": _TEXTS.get(type(error), str(error)), "kind": "Internal", "retryable": error.retryable}
        if error.retryable:
            fields["details"] = {"outcome": error.outcome, "reason": type(error).__name__}
        return fields
    if isinstance(error, PolicyDeniedError):
        return {"message": str(error), "kind": error.kind, "retryable": False, "details": dict(error.details)}
    kind = "Invalid" if isinstance(error, PublishError) else "Internal"
    text = str(error) if isinstance(error, TasukiError) else f"{type(error).__name__}: {error}"
    return {"message": text, "kind": kind, "retryable": False}
