"""Errors of handlers as plain data, from a child process to its worker."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from tasuki import errors
from tasuki.contracts.handler import Reject, Retry, Snooze
from tasuki.contracts.state.jobs import Suspended
from tasuki.errors import DriverError, HandlerError, LuaLimitError, PolicyDeniedError, class_names
from tasuki.handlers.process.protocol import encode
from tasuki.observe.tracebacks import format_error
from tasuki.units import plain_duration

_MOST = 16_000
"""Most characters of a text in an error."""
_KINDS: dict[str, type[HandlerError]] = {
    kind.__name__: kind
    for kind in (
        *(HandlerError, errors.HandlerNotFoundError, errors.InvalidBodyError, errors.LuaError, errors.LuaSyntaxError),
        *(errors.ResultError, errors.ReturnedTextError, errors.WaitTimeoutError),
    )
}
_BUILTIN: tuple[type[Exception], ...] = (
    *(AttributeError, IndexError, KeyError, LookupError, NotImplementedError, OSError, RuntimeError),
    *(TimeoutError, TypeError, ValueError),
)
_OURS: tuple[type[Exception], ...] = (
    *(each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, DriverError)),
    *(errors.CodecError, errors.PublishError, PolicyDeniedError, errors.TasukiError),
)
_SIGNALS: dict[str, type[Retry] | type[Snooze]] = {"Retry": Retry, "Snooze": Snooze}
_EXACT = {kind.__name__: kind for kind in (*_BUILTIN, *_OURS)}
_FIELDS = (
    (DriverError, ("driver", "queue", "outcome")),
    (PolicyDeniedError, ("actor", "action", "resource", "policy")),
)
_FIELDS_OF = {
    kind: next((fields for base, fields in _FIELDS if issubclass(kind, base)), ()) for kind in _EXACT.values()
}


class PlainFailure(msgspec.Struct, array_like=True):
    """How a call ended that did not end well.

    ``type`` is the name of the error, or Retry, Reject, Snooze, Suspended or Cancelled; ``extra`` the limit of a
    LuaLimitError, the delay or the time of a Retry or Snooze, or the seconds of a Suspended.
    """

    type: str
    message: str
    kind: str = ""
    retryable: bool | None = None
    details: dict[str, Any] | None = None
    traceback: str = ""
    extra: Any = None
    names: list[str] = []
    """What rules may call an error that is none of ours: the names of its classes."""

    def error(self) -> BaseException:
        """The exception that it was."""
        after = self.extra if isinstance(self.extra, int | float | str) else None
        if self.type == "Suspended":
            return Suspended(after if isinstance(after, int | float) else 0.0)
        if (signal := _SIGNALS.get(self.type)) is not None and isinstance(self.extra, datetime):
            return signal(reason=self.message, at=self.extra)
        if self.type == "Retry":
            return Retry(self.message, after=after)
        if self.type == "Reject":
            return Reject(self.message)
        if self.type == "Snooze":
            return Snooze("" if after is None else after, self.message)
        if self.type == "LuaLimitError":
            return LuaLimitError(self.message, limit=str(self.extra), traceback=self.traceback)
        if self.type in _EXACT:
            known = self.extra if isinstance(self.extra, dict) else {}
            fields = {name: str(known[name]) for name in _FIELDS_OF[_EXACT[self.type]] if known.get(name)}
            return _EXACT[self.type](self.message, **fields)
        return _KINDS.get(self.type, HandlerError)(
            self.message,
            kind=self.kind,
            retryable=self.retryable,
            details=self.details,
            traceback=self.traceback,
            names=self.names,
        )


def failure_of(error: BaseException) -> PlainFailure:
    """The fields of any error; one that is none of ours keeps its name and its traceback in the text."""
    if isinstance(error, Reject):
        return PlainFailure("Reject", plain_text(error.text))
    if isinstance(error, Suspended):
        return PlainFailure("Suspended", plain_text(error), extra=error.seconds)
    for name, signal in _SIGNALS.items():
        if isinstance(error, signal):
            return PlainFailure(name, plain_text(error.reason), extra=plain_duration(error.due))
    if not isinstance(error, HandlerError):
        text = plain_text(error)
        name = type(error).__name__
        text = f"{name}: {text}" if text else name
        return PlainFailure("HandlerError", text, traceback=_traceback(error), names=list(class_names(error)))
    known = next((base.__name__ for base in type(error).__mro__ if base.__name__ in _KINDS), "HandlerError")
    return PlainFailure(
        "LuaLimitError" if isinstance(error, LuaLimitError) else known,
        plain_text(error.message),
        plain_text(error.kind),
        error.retryable,
        plain_details(error.details),
        plain_text(error.traceback),
        error.limit if isinstance(error, LuaLimitError) else None,
    )


def exact_failure_of(error: Exception) -> PlainFailure:
    """The fields of an error that the code on the other side may want to catch by its type."""
    kind = next((base for base in type(error).__mro__ if base.__name__ in _EXACT), None)
    if isinstance(error, HandlerError | Retry | Reject | Snooze) or kind is None:
        return failure_of(error)
    fields = {name: getattr(error, name, "") for name in _FIELDS_OF[_EXACT[kind.__name__]]}
    return PlainFailure(kind.__name__, plain_text(error), extra=fields)


def plain_details(details: Any) -> dict[str, Any] | None:
    """Details as plain data; None where they are none."""
    try:
        plain = msgspec.to_builtins(details, builtin_types=(bytes,))
        encode(plain)  # numbers beyond 64 bits and texts that are no Unicode cannot cross
    except (TypeError, ValueError, RecursionError, OverflowError, HandlerError):
        return None
    return {str(name): value for name, value in plain.items()} if isinstance(plain, dict) else None


def bare(error: Exception) -> HandlerError:
    """A copy with only the parts that can always be sent: text, kind and whether another attempt may help."""
    kind, retryable = getattr(error, "kind", ""), getattr(error, "retryable", None)
    return HandlerError(
        plain_text(error), kind=plain_text(kind), retryable=retryable if isinstance(retryable, bool) else None
    )


def plain_text(value: object) -> str:
    """Its text, shortened, without invalid Unicode, which names of files may contain."""
    try:
        return str(value)[:_MOST].encode("utf-8", "replace").decode()
    except Exception:
        return "(its text cannot be shown)"


def _traceback(error: BaseException) -> str:
    try:
        return plain_text(format_error(error)[-_MOST:])
    except Exception:
        return ""
