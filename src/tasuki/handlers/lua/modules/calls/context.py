"""context: the steps and pauses of the message that is being handled. See context.lua for the functions of scripts.

====================  ======================================  ==========================================================
operation             arguments                               returns
====================  ======================================  ==========================================================
``context.begin``     name of a step                          is_done, and its value
``context.end``       name of a step, value?                  the value as it is recorded
``context.sleep``     name?, duration                         left: seconds
``context.wait``      name?, event, key, timeout              left: seconds; the value, or why there is none: problem
``context.suspend``   seconds                                 nothing: it ends the handler
====================  ======================================  ==========================================================
"""

from __future__ import annotations

from typing import Any

from tasuki.contracts.handler import Context
from tasuki.contracts.state.jobs import Suspended
from tasuki.errors import HandlerError
from tasuki.units import format_duration, parse_duration

NAME = "context"


async def begin(context: Context, name: str) -> dict[str, Any]:
    """The record of a step."""
    found = await context._settling.steps().begin(name)
    return {"is_done": False} if found is None else {"is_done": True, "value": found[0]}


async def end(context: Context, name: str, value: Any = None) -> Any:
    """Record the result of a step."""
    await context._settling.steps().end(name, value)
    return value


async def sleep(context: Context, name: str | None, duration: Any) -> dict[str, Any]:
    """How long the message is to rest."""
    return {"left": await context._settling.steps().sleep(name, _seconds(duration))}


async def wait(context: Context, name: str | None, event: str, key: str, timeout: Any) -> dict[str, Any]:
    """What the wait has come to."""
    seconds = _seconds(timeout)
    left, signal = await context._settling.steps().wait(name, event, key, seconds)
    if left > 0 or signal is not None:
        return {"left": left, "value": None if signal is None else signal[0]}
    return {"left": 0, "problem": f"no signal {event!r} for {key!r} came within {format_duration(seconds)}"}


def suspend(context: Context, seconds: float) -> None:
    """End the handler, where it runs."""
    raise Suspended(seconds)


def _seconds(duration: Any) -> float:
    try:
        return parse_duration(duration)
    except ValueError as error:
        raise HandlerError(str(error), kind="Invalid", retryable=False) from error


OPERATIONS = {
    "context.begin": begin,
    "context.end": end,
    "context.sleep": sleep,
    "context.wait": wait,
    "context.suspend": suspend,
}
