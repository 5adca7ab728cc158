"""The context of a script's top level: it runs before any message is there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from tasuki.contracts.context import KnownFacts
from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError

_NAMES = {
    "publish": "queue.publish",
    "info": "queue.info",
    "pause": "queue.pause",
    "resume": "queue.resume",
    "call": "funcs.call",
    "resource": "store.get",
    "env": "env.get",
    "set_env": "env.set",
    "env_all": "env.get_all",
}
"""What scripts call the methods of a context's reach."""


class LoadingContext(Context):
    """Logs, and refuses everything that needs a running handler."""

    def __init__(self, function: str) -> None:
        refused: Any = _AtLoad()
        super().__init__(KnownFacts(function, logging.getLogger("tasuki.handlers.lua")), refused, refused)


class _AtLoad:
    """Settling and reach that refuse; there are no rights, and no call to check."""

    permissions = None

    def check_call(self, function: str) -> None:
        """The call itself is refused."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        return partial(refuse_at_load, _NAMES.get(name, name))


def refuse_at_load(what: str, *args: object) -> NoReturn:
    """Say that an operation needs a running handler."""
    raise HandlerError(
        f"{what} cannot be used while the script loads; call it in the handler", kind="Invalid", retryable=False
    )
