"""time.after, time.timer and time.ticker: what they wait for. See timers.lua for the functions of scripts.

==============  ================  ==========================================================================
operation       arguments         returns
==============  ================  ==========================================================================
``time.after``  seconds           Unix nanoseconds, after that time
``time.tick``   seconds, due?     Unix nanoseconds and when it was due on the loop's clock, one period after
                                  ``due`` (default: now); a tick that is late already is at once
==============  ================  ==========================================================================
"""

from __future__ import annotations

import asyncio
import time

from tasuki.contracts.handler import Context


async def after(_: Context, seconds: float) -> int:
    """Wait once."""
    await asyncio.sleep(seconds)
    return time.time_ns()


async def tick(_: Context, seconds: float, due: float | None = None) -> list[float]:
    """Wait for the next tick; a ticker that has fallen behind skips what it missed, and keeps its beat."""
    now = asyncio.get_running_loop().time()
    due = now + seconds if due is None else due + seconds
    if due < now:
        due += (now - due) // seconds * seconds
    await asyncio.sleep(due - now)
    return [time.time_ns(), due]


OPERATIONS = {"time.after": after, "time.tick": tick}
