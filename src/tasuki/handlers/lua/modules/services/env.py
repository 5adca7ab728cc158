"""env: declared environment variables. See env.lua for the functions of scripts.

===============  ===========  ===================================================================================
operation        arguments    returns
===============  ===========  ===================================================================================
``env.get``      name         text; NotFound when not declared or without one, PermissionDenied by a policy
``env.set``      name, text   True; NotFound, PermissionDenied by a policy or because it is read-only
``env.get_all``  -            names and texts of those that may be read
===============  ===========  ===================================================================================
"""

from __future__ import annotations

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tasuki.handlers.lua.modules.services.security import permission_denied

NAME = "env"


@permission_denied
def get(context: Context, name: str) -> str:
    """The value; an empty one counts as unset."""
    value = context.project.env(name)
    if not value:
        raise HandlerError("environment variable not found", kind="NotFound", retryable=False)
    return value


@permission_denied
def set_value(context: Context, name: str, value: str) -> bool:
    """Give it a value."""
    context.project.set_env(name, value)
    return True


def get_all(context: Context) -> dict[str, str]:
    """All that may be read."""
    return dict(context.project.env_all())


OPERATIONS = {"env.get": get, "env.set": set_value, "env.get_all": get_all}
