"""funcs: other function entries. See funcs.lua for the functions of scripts.

===============  ==============================  ==================================================================
operation        arguments                       returns
===============  ==============================  ==================================================================
``funcs.call``   how, id, then any values        its result; NotFound, PermissionDenied, or what it failed with
``funcs.async``  the same                        the same, but a function that cannot be called fails at once
``funcs.may``    action, resource, message       True; PermissionDenied with that message
``funcs.copy``   a table                         the same
===============  ==============================  ==================================================================

``how`` is nil, or has ``values``, ``actor`` and ``scope`` as Context.call_with takes them.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError, HandlerNotFoundError, PolicyDeniedError

NAME = "funcs"


@contextmanager
def _translated(id: str) -> Iterator[None]:
    """Errors as scripts know them; a denial and a missing function say the same whoever asks."""
    try:
        yield
    except HandlerNotFoundError as error:
        text, details = "no handler registered for target", {"target": id}
        raise HandlerError(text, kind="NotFound", retryable=False, details=details) from error
    except PolicyDeniedError as error:
        is_other = error.action in ("funcs.context", "funcs.security")
        raise _denied(str(error) if is_other else f"not allowed: {id}") from error
    except HandlerError as error:
        raise HandlerError(
            error.message, kind=error.kind or "Internal", retryable=error.retryable, details=error.details
        ) from error


def _denied(message: str) -> HandlerError:
    details = {"reason": "permission_denied"}
    return HandlerError(message, kind="PermissionDenied", retryable=False, details=details)


async def call(context: Context, how: Mapping[str, Any] | None, id: str, *args: Any) -> Any:
    """Call another function."""
    with _translated(id):
        if how is None:
            return await context.call(id, *args)
        return await context.call_with(
            id, *args, values=_mapping(how.get("values")), actor=_mapping(how.get("actor")), scope=how.get("scope")
        )


def start(context: Context, how: Mapping[str, Any] | None, id: str, *args: Any) -> Coroutine[Any, Any, Any]:
    """The same, beside the script."""
    with _translated(id):
        context.check_call(id)
    return call(context, how, id, *args)


def may(context: Context, action: str, resource: str, problem: str) -> bool:
    """Whether the script may."""
    try:
        if context.permissions is not None:
            context.permissions.require(action, resource, problem)
    except PolicyDeniedError as error:
        raise _denied(problem) from error
    return True


def copy(_: Context, value: Any) -> Any:
    """A table as functions will see it."""
    return value


def _mapping(value: Any) -> Mapping[str, Any] | None:
    """An empty table may have come as a list."""
    return None if value is None else value if isinstance(value, dict) else {}


OPERATIONS = {"funcs.call": call, "funcs.async": start, "funcs.may": may, "funcs.copy": copy}
