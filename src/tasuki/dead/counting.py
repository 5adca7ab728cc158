"""Count dead letters: by their causes where the driver has an index, and exactly where it only estimates a depth."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from tasuki.contracts.driver import Causes, Driver
from tasuki.contracts.values import CauseCount
from tasuki.errors import BrokerTimeoutError
from tasuki.message import Message
from tasuki.queues.dead.groups import MOST, OTHER, DeadGroup, Texts, texts_of
from tasuki.queues.dead.letter import letter_in, text_in
from tasuki.queues.queue import Queue

PeekNewest = Callable[[str, int], Awaitable[Sequence[Message]]]
"""Of a cause the newest letters, at most this many."""


_TITLED = 10
"""The largest causes, for which letters are read to find their commonest text."""

_ASKED = 10
"""Newest letters of a cause that are read for it."""


async def causes_of(source: Queue) -> Causes | None:
    """The letters of a queue by their causes; None: its driver has no index, or takes too long to count this many.

    Raises:
        DriverError: the broker refuses. PolicyDeniedError: who asks may not look into it.
    """
    if not source.driver.capabilities.has("causes"):
        return None
    with suppress(BrokerTimeoutError):
        return await source.causes(MOST)
    return None


async def count_of_cause(driver: Driver, name: str, cause: str) -> int | None:
    """How many letters of a queue have a cause; None: that is not known without reading them. Raises DriverError.

    An index does not know the letters without a cause of their own; where there are some, all must be read.
    """
    if cause and driver.capabilities.has("causes"):
        with suppress(BrokerTimeoutError):
            found = await driver.causes(name, 0, [cause])
            return None if found.unmarked else found.of(cause) or 0
    return None


async def texts_in(causes: Causes, peek: PeekNewest) -> dict[str, Texts]:
    """Cause → what its newest letters say, for the largest causes: a driver counts causes, and knows no texts.

    Raises: as ``peek``.
    """
    found = dict[str, Texts]()
    for each in causes.counts[:_TITLED]:
        if each.count > 1:
            found[each.cause] = texts_of(text_in(message) for message in await peek(each.cause, _ASKED))
    return found


def groups_of(causes: Causes, dead: str, texts: Mapping[str, Texts]) -> list[DeadGroup]:
    """The groups of a count, the largest first; ``dead``: the id of the queue, ``texts``: see ``texts_in``."""
    return [_group(each, dead, texts.get(each.cause, ())) for each in causes.counts]


def rest_of(causes: Causes) -> list[DeadGroup]:
    """All groups that were not counted apart, as one, or none."""
    rest = causes.rest
    return [] if rest is None else [DeadGroup(OTHER, rest.count, rest.first, rest.last, "", "", "", "", (), ())]


def _group(counted: CauseCount, dead: str, texts: Texts) -> DeadGroup:
    letter = letter_in(counted.newest or Message("", b"", {}), dead)
    return DeadGroup(
        counted.cause,
        counted.count,
        counted.first,
        counted.last,
        letter.queue,
        letter.reason,
        letter.type,
        letter.place,
        texts or texts_of([letter.error]),
        counted.ids,
    )


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
