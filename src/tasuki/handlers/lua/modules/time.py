"""time: the clock, durations and waiting. The .lua files of this name and its parts list the functions of scripts.

===============  ==========  ==================================
operation        arguments   returns
===============  ==========  ==================================
``time.sleep``   seconds     nothing, after that time
``time.now``     -           Unix nanoseconds
===============  ==========  ==================================
"""

from __future__ import annotations

import asyncio
import time as stdlib

from tasuki.contracts.handler import Context

NAME = "time"
PARTS = ("timedurations", "timeobjects", "timelayout")


async def sleep(_: Context, seconds: float) -> None:
    """Wait; zero or less lets the others run once."""
    await asyncio.sleep(max(0.0, seconds))


def now(_: Context) -> int:
    """Unix nanoseconds."""
    return stdlib.time_ns()


OPERATIONS = {"time.sleep": sleep, "time.now": now}
