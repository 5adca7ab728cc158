import asyncio
import logging

import pytest

from tasuki.supervisor.changes import Changes
from tasuki.supervisor.state import Change, State, Status

pytestmark = pytest.mark.anyio
CHANGE = Change("a", State.UNKNOWN, Status(State.STARTING))


async def test_listeners_hear_each_change_until_they_are_taken_away() -> None:
    changes = Changes()
    heard: list[Change] = []
    leave = changes.subscribe(heard.append)
    changes.publish(CHANGE)
    leave()
    leave()
    changes.publish(CHANGE)
    assert heard == [CHANGE]


async def test_a_listener_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    changes = Changes()
    heard: list[Change] = []

    def fail(change: Change) -> None:
        raise ValueError("bad listener")

    changes.subscribe(fail)
    changes.subscribe(heard.append)
    with caplog.at_level(logging.ERROR):
        changes.publish(CHANGE)
    assert heard == [CHANGE]
    assert "bad listener" in caplog.text


async def test_all_waiters_wake_and_a_cancelled_one_does_no_harm() -> None:
    changes = Changes()
    waiters = [asyncio.ensure_future(changes.next()) for _ in range(3)]
    await asyncio.sleep(0)
    waiters[1].cancel()
    changes.wake()
    await asyncio.gather(waiters[0], waiters[2])
    assert waiters[1].cancelled() or waiters[1].cancelling()
    await asyncio.wait(waiters)
