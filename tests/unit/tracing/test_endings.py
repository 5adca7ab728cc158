from __future__ import annotations

import asyncio

import pytest

from tasuki.contracts.handler import Interrupted, Reject, Retry, Snooze
from tasuki.contracts.state.steps import Suspended
from tasuki.tracing.names import Ending, ending_of, is_interruption


@pytest.mark.parametrize(
    ("result", "error", "ending"),
    [
        (None, None, Ending("returned", False)),
        ({"ok": False}, None, Ending("returned", False)),
        (False, None, Ending("false", True)),
        (None, Retry("later", after=5), Ending("retry", False)),
        (None, Reject("bad"), Ending("reject", True)),
        (None, Snooze(5), Ending("snooze", False)),
        (None, Suspended(5), Ending("sleep", False)),
        (None, Interrupted(), Ending("interrupted", True)),
        (None, asyncio.CancelledError(), Ending("interrupted", True)),
        (None, ValueError(), Ending("error", True)),
    ],
)
def test_how_a_handler_has_ended(result: object, error: BaseException | None, ending: Ending) -> None:
    assert ending_of(result, error) == ending


def test_an_error_of_a_handler_is_no_interruption() -> None:
    assert is_interruption(Interrupted())
    assert not is_interruption(TimeoutError())
