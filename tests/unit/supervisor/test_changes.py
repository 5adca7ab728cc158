import asyncio

import pytest

from tasuki.supervisor.supervisor import Changes

pytestmark = pytest.mark.anyio


async def test_all_waiters_wake_and_a_cancelled_one_does_no_harm() -> None:
    changes = Changes()
    waiters = [asyncio.ensure_future(changes.next()) for _ in range(3)]
    await asyncio.sleep(0)
    waiters[1].cancel()
    changes.wake()
    await asyncio.gather(waiters[0], waiters[2])
    assert waiters[1].cancelled() or waiters[1].cancelling()
    await asyncio.wait(waiters)
