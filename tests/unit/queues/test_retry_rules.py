from __future__ import annotations

import pytest

from tasuki.errors import (
    HandlerError,
    HandlerNotFoundError,
    HandlerTimeoutError,
    LuaError,
    LuaLimitError,
    ReturnedTextError,
)
from tasuki.queues.messages.rules import RetryRules


class ClosedError(ConnectionError):
    """A library's own."""


HERE = ClosedError.__module__


def rules(never: str = "", on: str = "") -> RetryRules:
    return RetryRules(frozenset(never.split()), frozenset(on.split()))


@pytest.mark.parametrize(
    ("error", "never", "on", "is_allowed"),
    [
        (ValueError(), "", "", True),
        (ValueError(), "ValueError", "", False),
        (ClosedError(), "OSError", "", False),
        (ClosedError(), f"{HERE}.ClosedError", "", False),
        (ClosedError(), "builtins.ConnectionError", "", False),
        (ClosedError(), "elsewhere.ClosedError", "", True),
        (ValueError(), "", "OSError", False),
        (ClosedError(), "", "OSError TimeoutError", True),
        (ClosedError(), "ClosedError", "OSError", False),
        (LuaError("x", kind="NotFound"), "NotFound", "", False),
        (LuaError("x", kind="Unavailable"), "", "Unavailable", True),
        (LuaError("x", kind="Internal"), "", "Unavailable", False),
        (LuaError("x", retryable=False), "", "", False),
        (LuaError("x", retryable=False, kind="Timeout"), "", "Timeout", False),
        (LuaError("x", retryable=None), "", "", True),
        (HandlerError("x", retryable=False), "", "", False),
        (HandlerError("x", retryable=True), "HandlerError", "", False),
        (HandlerError("ClosedError: x", names=["ClosedError", "OSError"]), "OSError", "", False),
        (HandlerTimeoutError("late"), "", "HandlerTimeoutError", True),
        (HandlerTimeoutError("late"), "HandlerTimeoutError", "", False),
        (ReturnedTextError("a text", kind="Internal", retryable=False), "", "", True),
        # The framework's own words about a handler; a later version of the project may have it.
        (HandlerNotFoundError("x", retryable=False), "", "", True),
        (LuaLimitError("x", limit="time"), "", "", True),
    ],
)
def test_which_failures_are_tried_again(error: Exception, never: str, on: str, is_allowed: bool) -> None:
    assert rules(never, on).allow(error) is is_allowed
