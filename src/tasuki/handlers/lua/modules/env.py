"""env: declared environment variables. See env.lua for the functions of scripts.

=============  =========  ===============================================
operation      arguments  returns
=============  =========  ===============================================
``env.get``    name       text; NotFound when not declared or without one
=============  =========  ===============================================
"""

from __future__ import annotations

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError, PolicyDeniedError

NAME = "env"


def get(context: Context, name: str) -> str:
    """The value; an empty one counts as unset."""
    try:
        value = context.env(name)
    except PolicyDeniedError as error:
        details = dict(error.details)
        raise HandlerError(str(error), kind="PermissionDenied", retryable=False, details=details) from error
    if not value:
        raise HandlerError("environment variable not found", kind="NotFound", retryable=False)
    return value


OPERATIONS = {"env.get": get}
