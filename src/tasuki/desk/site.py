"""The site: the apps through which the desk sees an installation, and how to reach each on its own event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from tasuki import __version__
from tasuki.app.app import reader_of
from tasuki.app.state.finding import is_there
from tasuki.consumers.reports.snapshot import Describer
from tasuki.errors import ProjectError, TasukiError
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.observe.plain import cut, escape
from tasuki.observe.redact import redact
from tasuki.state.worker_record import Presence

if TYPE_CHECKING:
    from tasuki.app.app import App
    from tasuki.app.assembly import Assembly

_log = logging.getLogger("tasuki.desk")

T = TypeVar("T")
Work = Callable[["Assembly"], Awaitable[T]]
_PATIENCE = 10.0
"""Seconds after which work of the desk is given up."""
BESIDE = 2.0
"""Seconds for what a page can do without, such as the progress of a job: a silent store must not hold the rest back."""


class AwayError(TasukiError):
    """What the desk wants to read cannot be reached from here, now or ever; the text is for people."""


class Site:
    """The queues of one project.

    Args:
        reader: the app for queues that processes share.
        own: the app that works in this process; queues in memory are seen through it. None: there is none.
        opens: whether the desk opens and closes ``reader``.
        version: another object after each reload of what works; None: it does not work yet. By default ``own`` tells.
        drives: whether batches go on here whose processes die, if no worker is here.
    """

    def __init__(
        self,
        reader: App,
        own: App | None,
        *,
        opens: bool,
        version: Callable[[], object] | None = None,
        drives: bool = True,
    ) -> None:
        self.reader = reader
        self.own = own
        self._opens, self._drives = opens, drives and own is None
        self._version = version or (lambda: None if own is None else own._runtime.assembly)
        self._seen: object = None
        """The version when ``reader`` was opened."""
        self._changing = asyncio.Lock()
        self._describe = Describer(
            __version__, reader._runtime.clock, lambda: None if own is None else own._runtime.health_sign()
        )

    async def open(self) -> None:
        """Open on the running loop what the desk opens. Raises ProjectError, LifecycleError."""
        if self._opens:
            self._seen = self._version()
            await self.reader.open()
            self._drive_batches()

    async def close(self) -> None:
        """Close it again."""
        if self._opens:
            await self.reader.close()

    async def follow(self) -> None:
        """Open again after a reload, so that the desk shows what runs. Raises LifecycleError.

        A project with a mistake is left alone, as the workers leave it alone.
        """
        if not self._opens or self._version() is self._seen:
            return
        async with self._changing:
            now = self._version() or self._seen
            if self._seen is not None and now is not self._seen:
                await self._open_again()
            self._seen = now

    async def _open_again(self) -> None:
        fresh = reader_of(self.reader)
        try:
            await fresh.open()
        except ProjectError as error:
            _log.error("desk: it shows the old version: %s", error)
            return
        old, self.reader = self.reader, fresh
        self._drive_batches()
        await old.close()

    def _drive_batches(self) -> None:
        """Go on with batches whose processes die, where no worker of this process does."""
        if self._drives:
            self.live.batching.follow(partial(is_there, self.live))

    @property
    def live(self) -> Assembly:
        """The objects that say what there is. Raises AwayError."""
        if (live := self.reader._runtime.assembly) is None:
            raise AwayError("the app is not open: a mounted desk shows what its app sees while that is open")
        return live

    @property
    def project(self) -> Project:
        """The checked project. Raises AwayError."""
        return self.live.project

    @property
    def queues(self) -> list[str]:
        """The ids of all queues. Raises AwayError."""
        return list(self.live.project.of(QueueConfig))

    @property
    def ids(self) -> dict[tuple[str, str], str]:
        """Driver and name at the broker → id of the queue. Raises AwayError."""
        return {(queue.driver.name, queue.spec.name): id for id, queue in self.live.queues.items()}

    def is_private(self, queue: str) -> bool:
        """Whether a queue lives in the memory of one process. Raises AwayError, KeyError."""
        return not self.live.queues[queue].driver.capabilities.multi_process

    def app_for(self, queue: str) -> App:
        """The app through which a queue is seen. Raises AwayError: it lives in another process; KeyError."""
        if not self.is_private(queue):
            return self.reader
        if self.own is None or self.own._runtime.assembly is None:
            raise AwayError(
                f"queue {queue} lives in the memory of the process that runs it: see it at that process (--admin)"
            )
        return self.own

    async def at(self, queue: str, work: Work[T], *, patience: float = _PATIENCE) -> T:
        """The result of work on the objects that have the queue. Raises AwayError, KeyError, and what the work raises.

        The work runs on the event loop of its app, within this many seconds.
        """
        return await self.on(self.app_for(queue), work, patience=patience)

    async def on(self, app: App, work: Work[T], *, patience: float = _PATIENCE) -> T:
        """The result of work on an app's loop, within this many seconds. Raises AwayError, and what the work raises."""
        live, loop = app._runtime.assembly, app._runtime.loop
        if live is None or loop is None or loop.is_closed():
            raise AwayError("the app is not open")
        try:
            if loop is asyncio.get_running_loop():
                return await asyncio.wait_for(_run(work, live), patience)
            future = asyncio.run_coroutine_threadsafe(_run(work, live), loop)
            return await asyncio.wait_for(asyncio.wrap_future(future), patience)
        except TimeoutError:
            raise AwayError(f"no answer within {patience:g} s: the broker, or the event loop, is busy") from None

    def parts(self) -> list[tuple[App, list[str]]]:
        """The apps that are open, each with the ids of the queues that are seen through it. Raises AwayError."""
        shared = [id for id in self.queues if not self.is_private(id)]
        private = [id for id in self.queues if self.is_private(id)]
        found = [(self.reader, shared)]
        if self.own is not None and self.own._runtime.assembly is not None and private:
            found.append((self.own, [id for id in private if id in self.own._runtime.assembly.queues]))
        return [(app, ids) for app, ids in found if ids]

    def present_here(self, live: Assembly, queues: Sequence[str], now: float) -> Presence | None:
        """This process as a worker of queues in its memory, which no store reports; None: it consumes none of them."""
        ids = set(queues)
        here = [each for each in live.consumers.values() if each.queue.id in ids and each.queue.consumer_count]
        return self._describe(here, now) if here else None


async def _run(work: Work[T], live: Assembly) -> T:
    return await work(live)


def problem_of(error: BaseException) -> str:
    """An error in one short line, without secrets."""
    text = escape(redact(str(error)).partition("\n")[0])
    return cut(text or type(error).__name__, 300)
