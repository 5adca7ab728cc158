"""env: declared environment variables. See env.lua for the functions of scripts.

=============  =========  =====================================================================
operation      arguments  returns
=============  =========  =====================================================================
``env.get``    name       text; NotFound when not declared or without one, PermissionDenied by a policy
=============  =========  =====================================================================
"""

from __future__ import annotations

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError, PolicyDeniedError

NAME = "env"


def get(context: Context, name: str) -> str:
    """The value; an empty one counts as unset."""
    problem = f"not allowed to access environment variable: {name}"
    try:
        if context.permissions is not None:
            context.permissions.require("env.get", name, problem)
    except PolicyDeniedError as error:
        details = dict(error.details)
        raise HandlerError(problem, kind="PermissionDenied", retryable=False, details=details) from error
    try:
        value = context.env(name)
    except PolicyDeniedError as error:
        details = dict(error.details)
        raise HandlerError(str(error), kind="PermissionDenied", retryable=False, details=details) from error
    if not value:
        raise HandlerError("environment variable not found", kind="NotFound", retryable=False)
    return value


OPERATIONS = {"env.get": get}
