"""Waiting messages of a queue, in pages, and one message by its id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tasuki.app.state.fate import know
from tasuki.contracts.state.jobs import Progress
from tasuki.dead.reading import attempts_shown
from tasuki.desk.reading.rows import asked
from tasuki.desk.site import BESIDE, Site, problem_of
from tasuki.errors import QueueNotFoundError, TasukiError, UnsupportedError
from tasuki.message import LAST_ERROR, Message
from tasuki.queues.dead.attempts import AttemptRecord
from tasuki.queues.dead.letter import LetterNames, id_of
from tasuki.queues.queue import Queue
from tasuki.state.job_status import status_of

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.desk.reading.snapshot import QueueRow

PAGE = 50
"""Messages of a page."""
DEEPEST = 10_000
"""Messages that are looked through, or paged to, at most: no page reads a whole backlog."""
SEARCHED = 1_000
"""Messages among which those are shown that failed before."""


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Some waiting messages; ``start``: the number of the first, ``after``: where the next page starts, or None."""

    messages: Sequence[Message] = ()
    start: int = 0
    after: int | None = None
    is_bounded: bool = False
    """Whether only the first messages were looked through."""
    places: Sequence[int] = ()
    """Of each message its number among those that wait."""


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """One message: ``message`` while it waits, at ``place`` in its queue; else what its record says."""

    message: Message | None = None
    id: str = ""
    """Of the message, also one that does not wait."""
    place: int = 0
    status: str = ""
    """What has become of it; empty: that is not known, or there is no such message."""
    progress: Progress | None = None
    searched: int = 0
    """How many were looked through."""
    is_name: bool = False
    """It was asked for by its name, which means one of the messages of its id."""


async def page_of(site: Site, row: QueueRow, state: str, start: int, most: int = PAGE) -> MessagePage:
    """Messages of a queue that wait, are delayed or failed before, from a number on, at most this many.

    Raises AwayError, DriverError, UnsupportedError: its driver shows none.
    """
    if state == "retrying":
        first = await _peek(site, row.id, 0, SEARCHED)
        failed = [(at, each) for at, each in enumerate(first) if LAST_ERROR in each.headers]
        shown, end = failed[start : start + most], start + most
        after = end if end < len(failed) else None
        messages, places = [each for _, each in shown], [at for at, _ in shown]
        return MessagePage(messages, start, after, len(first) == SEARCHED, places)
    ready = row.ready or 0  # delayed messages come after the ready ones
    begin, deepest = (start, min(ready, DEEPEST)) if state == "waiting" else (ready + start, DEEPEST)
    wanted = min(most, max(deepest - start, 0))
    found = await _peek(site, row.id, begin, wanted) if wanted else []
    end = start + len(found)
    after = end if wanted and len(found) == wanted and end < deepest else None
    return MessagePage(found, start, after, end >= DEEPEST, range(begin, begin + len(found)))


async def find(site: Site, queue: str, id: str, place: int) -> FoundMessage:
    """A message by its id or its name, which was at ``place`` when it was last seen. Raises AwayError, DriverError."""
    wanted, plain = LetterNames([id]), id_of(id) if _has_letters(site, queue) else id
    is_name = plain != id  # what has become of the id says nothing of it
    status, progress = await _fate(site, queue, plain) if not is_name else ("", None)
    searched = 0
    for start in (max(place - PAGE, 0), 0):
        at = start
        while at < (start + 4 * PAGE if start else DEEPEST):
            try:
                found = await _peek(site, queue, at, 10 * PAGE)
            except (QueueNotFoundError, UnsupportedError):
                return FoundMessage(None, plain, status=status, progress=progress, is_name=is_name)
            for number, message in enumerate(found, at):
                if wanted.of(message):
                    return FoundMessage(message, message.id, number, status, progress)
            at += len(found)
            searched = max(searched, at)
            if not found:
                break
        if not start:
            break
    if searched >= DEEPEST and site.live.queues[queue].driver.capabilities.has("find"):
        deep = await site.at(queue, lambda live: _by_id(live, queue, wanted))
        if deep is not None:
            return FoundMessage(deep, deep.id, searched, status, progress)
    return FoundMessage(None, plain, status=status, progress=progress, searched=searched, is_name=is_name)


def _has_letters(site: Site, queue: str) -> bool:
    """Whether the messages of a queue have names; elsewhere an id is taken as it is, though it may look like one."""
    return any(each.policy.dead_letter == queue for each in site.live.queues.values())


async def _by_id(live: Assembly, queue: str, wanted: LetterNames) -> Message | None:
    on = live.queues[queue]
    found = await asked(on, lambda: on.driver.find(on.spec.name, wanted.ids))
    return next((message for message in found if wanted.of(message)), None)


async def attempts(site: Site, queue: str, id: str, message: Message | None) -> tuple[list[AttemptRecord], str]:
    """The failed attempts of a message, found or not, oldest first, and why they cannot be read; empty: they can."""
    shown = Message(id, b"", {}) if message is None else message
    try:
        return await site.at(queue, lambda live: attempts_shown(live, live.queues[queue], shown), patience=BESIDE), ""
    except TasukiError as error:
        return [], problem_of(error)


async def _fate(site: Site, queue: str, id: str) -> tuple[str, Progress | None]:
    """What has become of a message, in a word, and how far its handler is; empty: it is not known."""
    if site.live.state_of(queue) is None:
        return "", None
    try:
        known = await site.at(queue, lambda live: know(live, queue, id), patience=BESIDE)
    except TasukiError:
        return "", None  # why it does not run is asked next, and says that the store is unavailable
    status = status_of(known)
    is_known = status is not None and status != "unknown"
    return (status if status and is_known else ""), None if known.record is None else known.record.progress


async def _peek(site: Site, queue: str, start: int, most: int) -> list[Message]:
    return await site.at(queue, lambda live: peek(live.queues[queue], start, most))


async def peek(queue: Queue, start: int, most: int) -> list[Message]:
    """Up to ``most`` waiting messages from a number on; a driver gives at most ``max_batch`` at a time."""
    found: list[Message] = []
    page = queue.driver.capabilities.max_batch
    while len(found) < most:
        take = partial(queue.driver.peek, queue.spec.name, min(most - len(found), page), start + len(found))
        more = await asked(queue, take)
        found += more
        if not more:
            break
    return found
