"""Functions of a module without postponed annotations."""

import functools
import logging
from collections.abc import Callable
from typing import Any

from tasuki.contracts.handler import Context
from tasuki.message import Message


class Local:
    pass


def everything(body: "dict[str, int]", context: "Context", message: Message, log: logging.Logger) -> None: ...


def only_for_checkers(  # type: ignore[no-untyped-def]
    body: int,
    context: "hidden.Context",  # type: ignore[name-defined]  # noqa: F821
    message: "Optional[hidden.Message]",  # type: ignore[name-defined]  # noqa: F821
    log: "hidden.Logger | None",  # type: ignore[name-defined]  # noqa: F821
    adapter: "hidden.LoggerAdapter[Any]",  # type: ignore[name-defined]  # noqa: F821
): ...


def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **named: Any) -> Any:
        return function(*args, **named)

    return wrapper


@decorate
def decorated(body: "Local", context: "Context") -> None: ...
