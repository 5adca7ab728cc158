"""Beats: whether connections that only hear still stand.

A dead connection of that kind looks like a quiet one. So a process that has heard nothing for a while publishes a beat,
and all processes of the prefix hear it, each on all its connections: one request for all of them. A connection on which
nothing comes all the same is asked itself, and given up without an answer.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from tasuki.drivers.redis.errors import LinkLostError, ReplyError
from tasuki.errors import DriverError
from tasuki.system.tasks import Tasks

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.link import Link

BEAT = 5.0
"""Seconds without a word after which a connection is asked, and again until it is given up."""
_SPREAD, _RARELY = 0.25, 8
"""A process publishes earlier, by this share at most, and rarely by much: so the first of many is far ahead of them."""


class Beats:
    """For connections of one event loop.

    Args:
        channel: of the beats.
        publish: publishes one; None: there are no beats, and each connection is asked.
    """

    def __init__(self, channel: bytes = b"", publish: Callable[[], Awaitable[object]] | None = None) -> None:
        self._channel = channel
        self._publish = publish
        self._tasks = Tasks()

    def keep(self, link: Link) -> None:
        """Give the connection up once it is dead. Call it before it subscribes to anything."""
        if self._publish is None:
            self._look(_Kept(link, hears_beats=False))
            return

        def subscribed(answer: asyncio.Future[object]) -> None:
            """Without the right to it, the connection is asked itself."""
            self._look(_Kept(link, hears_beats=not answer.cancelled() and answer.exception() is None))

        link.call("SUBSCRIBE", self._channel).add_done_callback(subscribed)

    def _look(self, kept: _Kept) -> None:
        link, loop = kept.link, asyncio.get_running_loop()
        if link.is_lost:
            return
        now = loop.time()
        if kept.asked_at is not None and link.heard_at < kept.asked_at and now >= kept.asked_at + BEAT:
            link.close(LinkLostError("no answer", is_timeout=True))
            return
        if link.heard_at != kept.heard_at:
            kept.renew()
        if kept.asked_at is None and now >= link.heard_at + BEAT:
            kept.asked_at = now
            link.send("PING")
        elif kept.asked_at is None and now >= kept.beat_at:
            kept.beat_at = link.heard_at + BEAT
            self._tasks.start(self._beat(), name="beat")
        loop.call_at(kept.beat_at if kept.asked_at is None else kept.asked_at + BEAT, self._look, kept)

    async def _beat(self) -> None:
        if self._publish is not None:
            with suppress(LinkLostError, ReplyError, DriverError):  # then each connection is asked
                await self._publish()


class _Kept:
    """One connection."""

    def __init__(self, link: Link, *, hears_beats: bool) -> None:
        self.link = link
        self._hears_beats = hears_beats
        self.renew()

    def renew(self) -> None:
        """It said something."""
        self.heard_at = self.link.heard_at
        self.asked_at: float | None = None
        """When it was asked since then."""
        early = _SPREAD * random.random() ** _RARELY if self._hears_beats else 0.0  # noqa: S311
        self.beat_at = self.heard_at + BEAT * (1.0 - early)
        """When something is done if it says nothing until then."""
