"""funcs: other function entries. See funcs.lua for the functions of scripts.

==============  ====================  ====================================================================
operation       arguments             returns
==============  ====================  ====================================================================
``funcs.call``  id, then any values   its result; NotFound, Invalid (not allowed), or what it failed with
==============  ====================  ====================================================================
"""

from __future__ import annotations

from typing import Any

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError, HandlerNotFoundError, PolicyDeniedError

NAME = "funcs"


async def call(context: Context, id: str, *args: Any) -> Any:
    """Call another function in this context."""
    try:
        return await context.call(id, *args)
    except HandlerNotFoundError as error:
        text, details = "no handler registered for target", {"target": id}
        raise HandlerError(text, kind="NotFound", retryable=False, details=details) from error
    except PolicyDeniedError as error:
        details = {"reason": "permission_denied"}
        raise HandlerError(f"not allowed: {id}", kind="PermissionDenied", retryable=False, details=details) from error
    except HandlerError as error:
        raise HandlerError(
            error.message, kind=error.kind or "Internal", retryable=error.retryable, details=error.details
        ) from error


OPERATIONS = {"funcs.call": call}
