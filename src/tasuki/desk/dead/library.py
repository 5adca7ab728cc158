"""Windows of dead letters and the last batches, each read once for all viewers; too many windows are forgotten."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasuki.app.batches import LISTED, Batches
from tasuki.clock import Clock
from tasuki.dead.batch import Batch
from tasuki.dead.selection import Choice
from tasuki.desk.dead.rows import GroupRow, rows_of
from tasuki.desk.dead.windows import NEWEST, Window, borrow_window, count_window, read_cause, read_window, with_unmarked
from tasuki.desk.site import BESIDE, AwayError, Site, problem_of
from tasuki.errors import BatchNotFoundError, BrokerTimeoutError, QueueNotFoundError, TasukiError, UnsupportedError
from tasuki.message import is_cause

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly


_COUNTS = "counts"
_AGE = 4.0
"""Seconds for which a window is new enough; the pages ask every five."""

_SHARE = 5
"""A window that takes long is read more seldom: reading may take one part in this many of the time."""

_OLDEST = 60.0
"""Seconds after which a window is read again although the ends of its queue are the same."""

_LATE = 15.0
"""Seconds after which a window that is still shown is called old."""

_FIRST = 3.0
"""Seconds that the first viewer waits."""

_MOST_AT_ONCE = 2
MOST_ITEMS = 40_000
"""Letters that all windows keep together; the longest unseen windows are forgotten."""

_MOST_OF_VIEW = 20_000
"""Letters that one view of several queues reads."""

_FEWEST = 100
_MOST_SHELVES = 2000
_MOST_ROWS = 8
_BORROWED_AGE = 600.0
"""Seconds for which borrowed letters are shown."""


@dataclass(slots=True)
class _Shelf:
    window: Window | None = None
    checked: float = float("-inf")
    """When its queue was seen to be as in the window."""
    took: float = 0.0
    task: asyncio.Task[Window] | None = None
    most: int = NEWEST
    is_partial: bool = False
    """Whether the first read of it goes on."""
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether there is a part of it."""


class Library:
    """Belongs to the event loop of the desk."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site, self._clock = site, clock
        self._shelves: OrderedDict[tuple[str, str, str], _Shelf] = OrderedDict()
        self._borrowed: OrderedDict[tuple[str, str], Window] = OrderedDict()
        self._both: dict[str, tuple[Window, Window, Window]] = {}
        self._reading = asyncio.Semaphore(_MOST_AT_ONCE)
        self.downloads = 0
        """Downloads that run now."""
        self._rows: OrderedDict[tuple[object, ...], tuple[Sequence[Window], list[GroupRow]]] = OrderedDict()

    async def windows(self, queues: Sequence[str], where: str, by: str = "") -> tuple[list[Window], dict[str, str]]:
        """The windows of these queues, and for each other one why there is none.

        Of a queue whose broker cannot show messages, the window of letters that were borrowed, if any were.
        ``by``: what their letters are to be grouped by; then those need not be shown that a driver counts.
        """
        most = min(NEWEST, max(_MOST_OF_VIEW // max(len(queues), 1), _FEWEST))
        found = await asyncio.gather(*(self._try(queue, where, most, by) for queue in queues))
        windows = [each for each in found if isinstance(each, Window)]
        return windows, {id: each for id, each in zip(queues, found, strict=True) if isinstance(each, str)}

    async def _try(self, queue: str, where: str, most: int, by: str) -> Window | str:
        try:
            return await self._grouped(queue, where, most, by)
        except QueueNotFoundError:
            return Window(queue)
        except TasukiError as error:
            return problem_of(error)

    async def _grouped(self, queue: str, where: str, most: int, by: str) -> Window:
        if (borrowed := self.borrowed(queue, where)) is not None:
            return borrowed
        if not self._site.live.queues[queue].driver.capabilities.has("peek"):
            text = f"the driver of {queue} shows no letters without giving them to a consumer; the desk can borrow them"
            raise UnsupportedError(text, queue=queue)
        if where or by != "cause" or not self._counts(queue):
            return await self.window(queue, where, most=most)
        with suppress(BrokerTimeoutError):  # there are too many to count now
            counted = await self._window(queue, where, _COUNTS, most)
            if counted.is_all:
                return counted
            return self._joined(counted, await self._window(queue, where, "", most))
        return await self._window(queue, where, "", most)

    def _joined(self, counted: Window, seen: Window) -> Window:
        """Both as one; the same one for the same two, so that its groups are made once."""
        known = self._both.get(counted.queue)
        if known is None or known[0] is not counted or known[1] is not seen:
            known = self._both[counted.queue] = counted, seen, with_unmarked(counted, seen)
        return known[2]

    def _counts(self, queue: str) -> bool:
        return self._site.live.queues[queue].driver.capabilities.has("causes")

    async def window(
        self, queue: str, where: str, by: str = "", group: str | None = None, most: int | None = None
    ) -> Window:
        """The newest letters of a queue that ``where`` holds for, a few seconds old at most.

        Only letters of one group, or of one cause that is all that ``where`` asks for, if the driver knows them by
        itself; else the window has other letters too.

        Raises: as ``read_window``; AwayError: there is none yet.
        """
        most = NEWEST if most is None else most
        cause = group if by == "cause" and group is not None and not where else _asked_alone(where)
        if is_cause(cause) and self._counts(queue):
            with suppress(BrokerTimeoutError):
                window = await self._window(queue, "", cause, most)
                if window.cause:
                    return window
        return await self._window(queue, where, "", most)

    async def _window(self, queue: str, where: str, of: str, most: int) -> Window:
        """``of``: nothing, one cause, or ``_COUNTS``."""
        shelf = self._shelf(queue, where, of)
        age = self._clock.monotonic() - shelf.checked
        is_enough = shelf.most >= most or shelf.window is None or shelf.window.is_all
        if shelf.window is not None and is_enough and age < max(_AGE, shelf.took * _SHARE):
            return shelf.window
        if shelf.task is None or shelf.task.done():
            shelf.most = most
            shelf.task = asyncio.create_task(self._read(shelf, queue, where, of, most), name=f"desk letters {queue}")
            shelf.task.add_done_callback(_seen)
        if shelf.window is None and of:  # its first letters will do
            await _first_of(shelf.task, shelf.heard)
        else:
            await asyncio.wait([shelf.task], timeout=_FIRST if shelf.window is None or not is_enough else 0.25)
        if shelf.task.done():
            return shelf.task.result()
        if shelf.window is None:
            raise AwayError("the letters are still being read; the page reloads automatically")
        return shelf.window

    def age_of(self, window: Window) -> float | None:
        """How old a window is whose queue should have been read again by now; None: it is new enough."""
        counted, seen, both = self._both.get(window.queue, (None, None, None))
        parts = (counted, seen) if both is window else (window,)
        now, ages = self._clock.monotonic(), list[float]()
        for shelf in self._shelves.values():
            if any(shelf.window is part for part in parts) and not shelf.is_partial:
                age = now - shelf.checked
                if age > _LATE + 2 * _SHARE * shelf.took:
                    ages.append(age)
        return max(ages, default=None)

    def _shelf(self, queue: str, where: str, of: str) -> _Shelf:
        shelf = self._shelves.setdefault((queue, where, of), _Shelf())
        self._shelves.move_to_end((queue, where, of))
        kept = sum(len(each.window.items) for each in self._shelves.values() if each.window is not None)
        while (kept > MOST_ITEMS or len(self._shelves) > _MOST_SHELVES) and len(self._shelves) > 1:
            _, gone = self._shelves.popitem(last=False)
            kept -= 0 if gone.window is None else len(gone.window.items)
        return shelf

    async def _read(self, shelf: _Shelf, queue: str, where: str, of: str, most: int) -> Window:
        async with self._reading:
            began = self._clock.monotonic()
            before = shelf.window
            is_young = before is not None and began - before.taken < _OLDEST and shelf.most == most
            known = before if is_young and "age" not in where else None

            def told(window: Window) -> None:
                if shelf.window is None or (shelf.is_partial and window.read > shelf.window.read):
                    shelf.window, shelf.is_partial = window, True
                    shelf.heard.set()

            if of == _COUNTS:
                shelf.window = await count_window(self._site, queue)
            elif of:
                shelf.window = await read_cause(self._site, queue, of, most, known, told)
            else:
                shelf.window = await read_window(self._site, queue, where, most, known, told)
            shelf.is_partial = False
            shelf.checked = self._clock.monotonic()
            shelf.took = shelf.checked - began
            return shelf.window

    async def borrow(self, queue: str, where: str) -> Window:
        """Receive the first letters of a queue whose broker cannot peek, and keep what they say for the viewers.

        Raises: as ``borrow_window``.
        """
        window = await borrow_window(self._site, queue, where)
        self._borrowed[queue, where] = window
        self._borrowed.move_to_end((queue, where))
        while len(self._borrowed) > 1 and sum(len(each.items) for each in self._borrowed.values()) > MOST_ITEMS:
            self._borrowed.popitem(last=False)
        return window

    def borrowed(self, queue: str, where: str) -> Window | None:
        """The letters that were borrowed last, unless that is long ago."""
        window = self._borrowed.get((queue, where))
        if window is None or self._clock.monotonic() - window.taken > _BORROWED_AGE:
            return None
        return window

    def borrowed_ago(self, windows: Sequence[Window]) -> dict[str, float]:
        """How many seconds ago letters were borrowed, by their queues."""
        now = self._clock.monotonic()
        return {window.queue: now - window.taken for window in windows if window.borrowed}

    async def rows(self, windows: Sequence[Window], by: str, now: float) -> list[GroupRow]:
        """The groups in these windows, the largest first; made in a thread, once for all viewers."""
        key = (by, int(now / _AGE), *(id(window) for window in windows))
        if key not in self._rows:
            # The windows are kept beside the rows: while they are, their ids are theirs alone.
            self._rows[key] = windows, await asyncio.to_thread(rows_of, windows, by, now)
            if len(self._rows) > _MOST_ROWS:
                self._rows.popitem(last=False)
        return self._rows[key][1]

    async def words_of(self, queue: str, by: str, group: str | None) -> str:
        """What the letters of a group have in common, for people: a cause is its error, not its digits.

        Empty: all letters are meant, or they cannot be read now.
        """
        if group is None or by != "cause":
            return group or ""
        with suppress(TasukiError):
            borrowed = self.borrowed(queue, "")
            window = await self.window(queue, "", by, group) if borrowed is None else borrowed
            rows = await self.rows([window], by, self._clock.time())
            return next((row.group.words for row in rows if row.group.key == group), "")
        return ""

    def forget(self, queue: str) -> None:
        """An act has changed the queue: the next viewer gets a new window."""
        for (id, *_), shelf in self._shelves.items():
            if id == queue:
                shelf.window, shelf.checked = None, float("-inf")
        for key in [key for key in self._borrowed if key[0] == queue]:
            del self._borrowed[key]

    async def close(self) -> None:
        """End the reads under way."""
        tasks = [shelf.task for shelf in self._shelves.values() if shelf.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _asked_alone(where: str) -> str:
    """The cause that is all that is asked for; empty: there is none."""
    choice = Choice(where)
    return choice.cause if choice.is_cause_alone else ""


async def _first_of(task: asyncio.Task[Window], heard: asyncio.Event) -> None:
    part = asyncio.create_task(heard.wait())
    try:
        await asyncio.wait([task, part], timeout=_FIRST, return_when=asyncio.FIRST_COMPLETED)
    finally:
        part.cancel()


def _seen(task: asyncio.Task[Window]) -> None:
    """The error of a read that no viewer waits for any more is no news."""
    if not task.cancelled():
        task.exception()


_BATCHES_AGE = 1.0
"""Seconds for which the list is new enough."""


class Board:
    """Belongs to the event loop of the desk."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site, self._clock = site, clock
        self._last: Sequence[Batch] = ()
        self._read = float("-inf")
        self._reading = asyncio.Lock()
        self.problem = ""
        """Why the last list is not whole; empty: it is."""

    async def latest(self) -> Sequence[Batch]:
        """The last ten batches, the newest first; ``problem`` says why batches of a store are left out."""
        async with self._reading:
            if self._clock.monotonic() - self._read > _BATCHES_AGE:
                found: dict[str, Batch] = {}
                self.problem = ""
                for app, _ in self._site.parts():
                    try:
                        found |= {batch.id: batch for batch in await self._site.on(app, _list, patience=BESIDE)}
                    except TasukiError as error:
                        self.problem = problem_of(error)
                self._last = [found[id] for id in sorted(found, reverse=True)][:LISTED]
                self._read = self._clock.monotonic()
            return self._last

    async def find(self, id: str) -> Batch:
        """A batch as it is now. Raises BatchNotFoundError, AwayError, DriverError."""
        missing: TasukiError | None = None
        for app, _ in self._site.parts():
            try:
                return await self._site.on(app, lambda live: Batches(lambda: live).get(id))
            except BatchNotFoundError as error:
                missing = error
        raise missing or BatchNotFoundError(f"there is no batch {id}", batch=id)

    def forget(self) -> None:
        """Something was ordered: the next viewer gets a new list."""
        self._read = float("-inf")


async def _list(live: Assembly) -> Sequence[Batch]:
    return await Batches(lambda: live).list()
