"""Ending: how many messages wait in a queue whose driver only estimates it, found by a few peeks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from tasuki.message import Message

Peek = Callable[[int, int], Awaitable[Sequence[Message]]]
"""This many waiting messages from a number on."""
_PAGE = 2500
"""Messages that the last peek reads."""
_PART = 15
"""An estimate is wrong by about one part in this many; where it is more, the search takes longer."""


async def end_of(peek: Peek, guess: int, known: int = 0) -> int:
    """The number of waiting messages, if none is taken or added meanwhile.

    Args:
        peek: reads messages; about ten times.
        guess: the estimate.
        known: its last one; asked first, and then only that.

    Raises: what ``peek`` raises.
    """
    if known and len(await peek(2, known - 1)) == 1:
        return known
    step = max(guess // _PART, _PAGE)
    low, high = max(guess - step, 0), guess + step
    while low and not await peek(1, low):
        low, high, step = max(low - step, 0), low, step * 2
    while await peek(1, high):
        low, high, step = high, high + step, step * 2
    while high - low > _PAGE:  # there is a message at low, or low is 0, and none at high
        middle = (low + high) // 2
        low, high = (middle, high) if await peek(1, middle) else (low, middle)
    return low + len(await peek(_PAGE, low))
