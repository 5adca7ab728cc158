"""Windows: the newest letters of one dead-letter queue, read in pages, or borrowed where a broker cannot peek.

A window keeps a few KiB of each letter at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from tasuki.contracts.driver import Causes, Depth, Waiting, place_of
from tasuki.dead.counting import Peek, end_of, texts_in
from tasuki.dead.peek_by_receive import borrow
from tasuki.dead.selection import Choice
from tasuki.dead.walk import FIRST, Backwards, fitting
from tasuki.desk.reading.bodies import preview
from tasuki.desk.reading.rows import asked
from tasuki.desk.site import Site
from tasuki.message import CONTENT_TYPE, PARTITION_KEY, Message, cause_in
from tasuki.queues.dead.cause import first_line
from tasuki.queues.dead.groups import MOST, Texts, texts_of
from tasuki.queues.dead.letter import Letter, letter_in, name_of
from tasuki.queues.queue import Queue

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly


_MOST_TEXT = 300
_BODY = 1024
"""Bytes of a body that are kept: what a preview looks at."""


@dataclass(frozen=True, slots=True)
class Item:
    """A letter without its traceback, without most of its headers and with the beginning of its body."""

    letter: Letter
    number: int
    """Where it was in its queue."""
    name: str
    """Means this letter alone: see :mod:`tasuki.queues.dead.letter`."""
    key: str
    shown: str | None
    """The body on one line; None: it is made when it is shown."""
    is_marked: bool = False
    """Whether the message itself says its cause, so that an index knows it."""

    @property
    def at(self) -> tuple[str, str]:
        """Where it is stored, as far as its driver says: pages that shift meanwhile may show one twice."""
        return self.letter.id, place_of(self.letter.message) or self.name

    def body(self, queue: Queue) -> str:
        """The body on one line."""
        return preview(queue, self.letter.message) if self.shown is None else self.shown


def items_of(source: Queue, messages: Sequence[Message], start: int, choice: Choice, now: float) -> list[Item]:
    """The chosen ones of these messages, of which the first is number ``start``. May run in any thread."""
    found = []
    for number, message in enumerate(messages, start):
        letter = letter_in(message, source.id)
        if choice.takes(letter, source, now):
            found.append(_item(source, letter, number))
    return found


def _item(source: Queue, letter: Letter, number: int) -> Item:
    message = letter.message
    headers = message.headers
    is_whole = len(message.body) <= _BODY
    # Of the codecs only plain JSON can be shown from the beginning of a body.
    is_plain = is_whole or source.codec_of(message).name == "json/plain"
    kept = {name: headers[name] for name in (CONTENT_TYPE,) if name in headers}
    slim = replace(
        letter,
        message=Waiting(message.id, message.body[:_BODY], kept, place_of(message)),
        queue=_cut(letter.queue),
        reason=_cut(letter.reason),
        type=_cut(letter.type),
        place=_cut(letter.place),
        cause=_cut(letter.cause),
        error=first_line(letter.error)[:_MOST_TEXT],
        task=_cut(letter.task),
        consumer=_cut(letter.consumer),
    )
    return Item(
        slim,
        number,
        name_of(message),
        _cut(str(headers.get(PARTITION_KEY, ""))),
        None if is_plain else preview(source, message),
        bool(cause_in(headers)),
    )


def _cut(text: str) -> str:
    return text[:_MOST_TEXT].encode("utf-8", "replace").decode()


NEWEST = 10_000
"""Letters of a queue that are read at most: the newest ones."""

_BORROWING = 30.0
"""Seconds that a viewer waits for borrowed letters, which are held for a third of it at most."""

_MOST_PAGE = 2500
"""Letters of the largest page."""


@dataclass(frozen=True, slots=True)
class Window:
    """Chosen letters of one queue, the newest place of the queue first."""

    queue: str
    items: Sequence[Item] = ()
    total: int = 0
    """Letters in the queue, chosen or not."""
    read: int = 0
    """How many of them were looked at."""
    unclear: int = 0
    """Letters that could not be judged, and are not among the items."""
    problem: str = ""
    """Why the last of these could not be judged."""
    taken: float = 0.0
    """On the monotonic clock."""
    borrowed: bool = False
    mark: tuple[object, ...] = field(default=())
    """Equal while the queue has the same letters, as far as its ends tell."""
    causes: Causes | None = None
    """The letters that say their cause, counted by the driver: then the ``items`` show only some of them."""
    cause: str = ""
    """The one cause of the letters that it is about; empty: it is about all."""
    texts: Mapping[str, Texts] = field(default_factory=dict)
    """Of counted causes what their newest letters say."""

    @property
    def uncounted(self) -> Sequence[Item]:
        """The items that the driver has not counted."""
        return self.items if self.causes is None else [item for item in self.items if not item.is_marked]

    @property
    def count(self) -> int:
        """Chosen letters, shown or only counted."""
        return len(self.uncounted) + (0 if self.causes is None else self.causes.marked)

    @property
    def listed(self) -> int:
        """Of the letters of one cause, how many are listed when all is read."""
        return min(self.total, NEWEST)

    @property
    def is_all(self) -> bool:
        """Whether all letters of the queue were looked at."""
        return self.read >= self.total


async def read_window(
    site: Site, queue: str, where: str, most: int, before: Window | None, told: Callable[[Window], None]
) -> Window:
    """The chosen ones of the newest ``most`` letters; ``before``, if the queue has not changed since.

    The newest are read first; ``told`` gets what has been read so far.

    Raises: AwayError, DriverError, UnsupportedError: the broker cannot show messages; ValueError: see ``Choice``.
    """
    choice, clock = Choice(where, masks=True), site.reader._runtime.clock
    source = site.live.queues[queue]
    depth = await site.at(queue, partial(_depth, queue))
    total = await _total(site, queue, depth, 0 if before is None else before.total)
    # The end of a longer one is far for some brokers; of one that is estimated the number says little.
    ends = {0, total - 1} if total and (total <= NEWEST or depth.is_estimate) else {0}
    mark = (
        total,
        depth.in_flight,
        *[each.id for at in ends for each in await site.at(queue, partial(peek_page, queue, at, 1))],
    )
    if before is not None and before.mark == mark:
        return before
    found: dict[tuple[str, str], Item] = {}
    pages, now = Backwards(_peek_of(site, queue), total, max(total - most, 0), _MOST_PAGE), clock.time()
    while True:
        page = [] if pages.is_over else await pages.page()
        items = await asyncio.to_thread(items_of, source, page, pages.start, choice, now)
        found |= {each.at: each for each in reversed(items)}
        read, taken = total - pages.start, clock.monotonic()
        window = Window(queue, list(found.values()), total, read, choice.unclear, choice.problem, taken, mark=mark)
        if pages.is_over:
            return window
        told(window)


async def count_window(site: Site, queue: str) -> Window:
    """The letters of a queue by their causes, counted by its driver; it shows none of them.

    Raises: as ``read_window``.
    """
    causes = await site.at(queue, partial(count_page, queue, MOST, ()))

    async def peek(cause: str, most: int) -> Sequence[Message]:
        return await site.at(queue, partial(cause_page, queue, cause, True, 0, most))

    counted = _counted(queue, causes, site.reader._runtime.clock.monotonic())
    return replace(counted, texts=await texts_in(causes, peek))


def _counted(queue: str, causes: Causes, taken: float) -> Window:
    return Window(queue, (), causes.marked + causes.unmarked, causes.marked, taken=taken, causes=causes)


def with_unmarked(counted: Window, seen: Window) -> Window:
    """What a driver has counted, with the letters that do not say their cause, as far as they were ``seen``."""
    items = [item for item in seen.items if not item.is_marked]
    unmarked = 0 if counted.causes is None else counted.causes.unmarked
    read = seen.total if len(items) >= unmarked else seen.read
    return replace(seen, items=items, read=read, causes=counted.causes, texts=counted.texts)


async def read_cause(
    site: Site, queue: str, cause: str, most: int, before: Window | None, told: Callable[[Window], None]
) -> Window:
    """The newest ``most`` letters of one cause, by the driver's index; no items where others may have the cause too.

    ``told`` gets what has been read so far. Raises: as ``read_window``.
    """
    source, clock = site.live.queues[queue], site.reader._runtime.clock
    causes = replace(await site.at(queue, partial(count_page, queue, 0, (cause,))), rest=None)
    if causes.unmarked:
        return _counted(queue, causes, clock.monotonic())
    if before is not None and before.causes == causes and before.read >= min(before.total, most):
        return before
    total, size, choice = causes.marked, FIRST, Choice()
    found: dict[tuple[str, str], Item] = {}
    at = 0
    while True:
        page = await site.at(queue, partial(cause_page, queue, cause, True, at, min(size, most - at)))
        at += len(page)
        found |= {each.at: each for each in await asyncio.to_thread(items_of, source, page, 0, choice, 0.0)}
        items = list(found.values())
        texts = {cause: texts_of(each.letter.error for each in items)}
        window = Window(queue, items, total, at, taken=clock.monotonic(), causes=causes, cause=cause, texts=texts)
        if not page or at >= min(total, most):
            return window
        told(window)
        size = min(_MOST_PAGE, 4 * size, fitting(page))


async def borrow_window(site: Site, queue: str, where: str) -> Window:
    """The chosen ones of the first ``NEWEST`` letters of a queue whose broker cannot peek.

    They are released before this returns.

    Raises: AwayError, DriverError, HeldBackError: another reader borrows from it now.
    """
    clock = site.reader._runtime.clock
    source = site.live.queues[queue]

    async def work(live: Assembly) -> tuple[Sequence[Message], bool]:
        on = live.queues[queue]
        await asked(on, lambda: on.driver.occupancy(on.spec.name))
        found = await borrow(live, on, NEWEST, clock=clock, guard=None)
        return found.letters, found.is_all

    choice = Choice(where, masks=True)
    messages, is_all = await site.at(queue, work, patience=_BORROWING)
    items = await asyncio.to_thread(items_of, source, messages, 0, choice, clock.time())
    depth = await site.at(queue, partial(_depth, queue))
    total = len(messages) if is_all else max(depth.waiting, len(messages) + 1)
    read, taken = len(messages), clock.monotonic()
    return Window(queue, items, total, read, choice.unclear, choice.problem, taken, borrowed=True)


async def _depth(queue: str, live: Assembly) -> Depth:
    on = live.queues[queue]
    return await asked(on, lambda: on.driver.depth(on.spec.name))


async def _total(site: Site, queue: str, depth: Depth, known: int = 0) -> int:
    """How many letters wait, exactly where the driver only estimates it and can show them."""
    if not depth.is_estimate or not site.live.queues[queue].driver.capabilities.has("peek"):
        return depth.waiting

    return await end_of(_peek_of(site, queue), depth.waiting, known)


def _peek_of(site: Site, queue: str) -> Peek:
    async def peek(most: int, start: int) -> Sequence[Message]:
        return await site.at(queue, partial(peek_page, queue, start, most))

    return peek


async def count(site: Site, queue: str) -> int:
    """How many letters wait in a queue. Raises AwayError, DriverError."""
    return await _total(site, queue, await site.at(queue, partial(_depth, queue)))


async def peek_page(queue: str, start: int, most: int, live: Assembly) -> list[Message]:
    """Waiting messages of a queue from a number on. Raises DriverError."""
    on = live.queues[queue]
    return list(await asked(on, lambda: on.driver.peek(on.spec.name, most, start)))


async def count_page(queue: str, most: int, also: Sequence[str], live: Assembly) -> Causes:
    """The waiting messages of a queue by their causes. Raises DriverError."""
    on = live.queues[queue]
    return await asked(on, lambda: on.driver.causes(on.spec.name, most, also))


async def cause_page(queue: str, cause: str, newest: bool, start: int, most: int, live: Assembly) -> list[Message]:
    """Waiting messages of one cause from a number on, or from the newest back. Raises DriverError."""
    on = live.queues[queue]
    return list(await asked(on, lambda: on.driver.peek_cause(on.spec.name, cause, most, start, newest_first=newest)))
