"""funcs: other function entries. See funcs.lua for the functions of scripts.

===============  ==============================  ==================================================================
operation        arguments                       returns
===============  ==============================  ==================================================================
``funcs.call``   id, how, then any values        its result; NotFound, PermissionDenied, or what it failed with
``funcs.check``  id                              True; NotFound, PermissionDenied
``funcs.may``    action, resource, message       True; PermissionDenied with that message
``funcs.copy``   a table                         the same
===============  ==============================  ==================================================================

``how`` is nil, or has ``values``, ``actor`` and ``scope`` as Context.call takes them; it may come from a script in
another process, so it is looked at again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError, HandlerNotFoundError, PolicyDeniedError
from tasuki.handlers.lua.modules.services.security import permission_denied, require

NAME = "funcs"


@contextmanager
def _translated(id: str) -> Iterator[None]:
    """Errors as scripts know them; a denial and a missing function read the same for every caller."""
    try:
        yield
    except HandlerNotFoundError as error:
        text, details = "no handler registered for target", {"target": id}
        raise HandlerError(text, kind="NotFound", retryable=False, details=details) from error
    except PolicyDeniedError as error:
        text = str(error) if error.action in ("funcs.context", "funcs.security") else f"not allowed: {id}"
        details = {"reason": "permission_denied"}
        raise HandlerError(text, kind="PermissionDenied", retryable=False, details=details) from error
    except HandlerError as error:
        raise HandlerError(
            error.message, kind=error.kind or "Internal", retryable=error.retryable, details=error.details
        ) from error


async def call(context: Context, id: str, how: Any = None, *args: Any) -> Any:
    """Call another function."""
    with _translated(id):
        if how is None:
            return await context.call(id, *args)
        return await context.call(id, *args, **_circumstances(how))


def check(context: Context, id: str) -> bool:
    """Return if it may be called, and is there."""
    with _translated(id):
        context.project.check_call(id)
    return True


def copy(_: Context, value: Any) -> Any:
    """A table as functions will see it."""
    return value


def _circumstances(how: Any) -> dict[str, Any]:
    """Keyword arguments of Context.call. An empty table may have come as a list, or as a mapping."""
    if not isinstance(how, dict):
        raise _unfit()
    found: dict[str, Any] = {}
    if (values := how.get("values")) is not None:
        found["values"] = _mapping(values)
    if (actor := how.get("actor")) is not None:
        found["actor"] = {"id": _mapping(actor).get("id"), "meta": _mapping(actor.get("meta") or {})}
        if not isinstance(found["actor"]["id"], str):
            raise _unfit()
    if (scope := how.get("scope")) is not None:
        found["scope"] = scope or []
        if not isinstance(found["scope"], list) or not all(isinstance(id, str) for id in found["scope"]):
            raise _unfit()
    return found


def _mapping(value: Any) -> dict[str, Any]:
    if value and not isinstance(value, dict):
        raise _unfit()
    return value or {}


def _unfit() -> HandlerError:
    return HandlerError("the context, actor or scope of the call has the wrong type", kind="Invalid", retryable=False)


OPERATIONS = {"funcs.call": call, "funcs.check": check, "funcs.may": permission_denied(require), "funcs.copy": copy}
