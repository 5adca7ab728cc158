from __future__ import annotations

import asyncio

import pytest

from tasuki.contracts.handler import Interrupted, Reject, Retry, Snooze
from tasuki.contracts.state.steps import Suspended
from tasuki.tracing.names import SpanEnding, ending_of, is_interruption


@pytest.mark.parametrize(
    ("result", "error", "ending"),
    [
        (None, None, SpanEnding("returned", False)),
        ({"ok": False}, None, SpanEnding("returned", False)),
        (False, None, SpanEnding("false", True)),
        (None, Retry("later", after=5), SpanEnding("retry", False)),
        (None, Reject("bad"), SpanEnding("reject", True)),
        (None, Snooze(5), SpanEnding("snooze", False)),
        (None, Suspended(5), SpanEnding("sleep", False)),
        (None, Interrupted(), SpanEnding("interrupted", True)),
        (None, asyncio.CancelledError(), SpanEnding("interrupted", True)),
        (None, ValueError(), SpanEnding("error", True)),
    ],
)
def test_how_a_handler_has_ended(result: object, error: BaseException | None, ending: SpanEnding) -> None:
    assert ending_of(result, error) == ending


def test_an_error_of_a_handler_is_no_interruption() -> None:
    assert is_interruption(Interrupted())
    assert not is_interruption(TimeoutError())
