"""ctx: what the callers of a function have said about the call, and its trace. Its functions are in ctx.lua.

==============  =========  ==================================================
operation       arguments  returns
==============  =========  ==================================================
``ctx.get``     key        the value; NotFound: key not found
``ctx.all``     -          all of them
``ctx.trace``   -          the traceparent of the trace that runs now, or nil
==============  =========  ==================================================

A value that has no place in Lua is nil.
"""

from __future__ import annotations

from typing import Any

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tasuki.observe.trace import current_traceparent

NAME = "ctx"
_KNOWN = (str, int, float, bytes, dict, list, tuple)  # bool is an int


def _plain(value: Any) -> Any:
    return value if isinstance(value, _KNOWN) else None


def get(context: Context, key: str) -> Any:
    """One value."""
    if key not in context.delivery.values:
        raise HandlerError(f"key not found: {key}", kind="NotFound", retryable=False)
    return _plain(context.delivery.values[key])


def all_values(context: Context) -> dict[str, Any]:
    """All of them."""
    return {key: _plain(value) for key, value in context.delivery.values.items()}


async def trace(context: Context) -> str | None:
    """The trace; a coroutine, for only that runs within the context variables of the call that asks."""
    return current_traceparent()


OPERATIONS = {"ctx.get": get, "ctx.all": all_values, "ctx.trace": trace}
