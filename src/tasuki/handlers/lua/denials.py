"""Denials by policies, as the modules of scripts report them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from tasuki.errors import HandlerError, PolicyDeniedError


def permission_denied(operation: Callable[..., Any]) -> Callable[..., Any]:
    """The operation of a module that reports a denial by a policy as kind PermissionDenied, not as Invalid."""

    @wraps(operation)
    def checked(*args: Any) -> Any:
        try:
            return operation(*args)
        except PolicyDeniedError as error:
            details = dict(error.details)
            raise HandlerError(str(error), kind="PermissionDenied", retryable=False, details=details) from error

    return checked
