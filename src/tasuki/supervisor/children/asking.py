"""The parent's questions to its children: to all at once, with a second for each, and a heartbeat every two seconds.

A child that has not answered for 30 s is reported. A child that computes is not frozen: its handler may run C code that
holds Python's lock and so stops all threads. Such a child gets as much time as a starting one.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from types import MappingProxyType
from typing import Any, NamedTuple

from tasuki.supervisor.children.frames import Frames, encode

QUESTION = "stop_timeout"
"""The question of the heartbeat; its answer is how long the child may take to stop, in seconds."""


class SilenceLimits(NamedTuple):
    """Seconds."""

    silent: float = 30.0
    """Silence after which a child counts as frozen that has used no processor time meanwhile."""
    busy: float = 300.0
    """The same for one that computes, and before its first answer: the largest projects are imported in less."""
    look: float = 2.0
    """Between two questions."""


class _Use(NamedTuple):
    seconds: float
    """Processor time of a child."""
    at: float
    """Time of the loop at which it was found to have used more than before."""


class SilenceRule:
    """Which children are frozen. No I/O.

    Silence counts only while this process has looked without a gap: if all processes were suspended, the children
    answer as soon as they run again.
    """

    def __init__(self, limits: SilenceLimits) -> None:
        self._limits = limits
        self._looked_at = self._watched_since = float("-inf")
        self._used: dict[int, _Use] = {}

    def frozen(
        self, now: float, heard: Mapping[int, SignOfLife], used: Mapping[int, float] = MappingProxyType({})
    ) -> dict[int, float]:
        """The seconds of silence of each frozen child, by its number.

        Args:
            now: a time of the loop.
            heard: the last sign of life of each child.
            used: seconds of processor time that each has used so far.
        """
        if now - self._looked_at > self._limits.silent / 4:
            self._watched_since = now
        self._looked_at = now
        silences = {number: now - max(sign.at, self._watched_since) for number, sign in heard.items()}
        self._used = {number: self._use(number, now, used.get(number, 0.0)) for number in heard}
        return {number: silence for number, silence in silences.items() if self._is_frozen(number, silence, now, heard)}

    def _use(self, number: int, now: float, seconds: float) -> _Use:
        last = self._used.get(number)
        return last if last is not None and seconds == last.seconds else _Use(seconds, now)

    def _is_frozen(self, number: int, silence: float, now: float, heard: Mapping[int, SignOfLife]) -> bool:
        is_idle = now - self._used[number].at >= self._limits.silent
        return silence >= (self._limits.silent if is_idle and not heard[number].is_first else self._limits.busy)


class Heartbeat:
    """Asks the children for a sign of life; ``on_frozen`` is called with the number of a frozen child and its silence.

    A child that is still there two seconds later is reported again. ``used`` gives the seconds of processor time that
    each child has used, by its number.
    """

    def __init__(
        self,
        children: Children,
        on_frozen: Callable[[int, float], object],
        used: Callable[[], Mapping[int, float]],
        limits: SilenceLimits | None = None,
    ) -> None:
        self._children = children
        self._on_frozen = on_frozen
        self._used = used
        self._limits = limits or SilenceLimits()
        self._rule = SilenceRule(self._limits)

    async def run(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._children.ask(QUESTION, timeout=min(self._limits.look, 1.0))
            for number, silence in self._rule.frozen(loop.time(), self._children.heard(), self._used()).items():
                self._on_frozen(number, silence)
            await asyncio.sleep(self._limits.look)

    def stop_timeout(self, number: int) -> float:
        """How long a child may take to stop, by its last answer; 0.0 if it has given none."""
        return float(self._children.last(number, QUESTION) or 0.0)


_log = logging.getLogger("tasuki.processes")


PATIENCE = 1.0
"""Seconds after which a child's last answer counts in place of a new one."""

_MOST_OPEN = 100
"""Questions without an answer, after which a child gets no more: they must fit into the buffer of its socket."""

_PIECE = 65_536


class NoAnswerError(Exception):
    """A child does not answer: it has ended, has too many questions open, or cannot."""


class SignOfLife(NamedTuple):
    """The last frame that a child has sent."""

    at: float
    """Time of the loop; of a child that has sent none: when its socket was made."""
    is_first: bool = False
    """It has sent none: it starts."""


@dataclass(frozen=True, slots=True)
class ChildAnswer:
    """The state of a question to one child."""

    value: Any = None
    """Its last answer; None: it has given none yet."""
    at: float = 0.0
    """Time of the loop at which it gave that."""
    problem: str = ""
    """Why that is not the answer to this question; empty: it is."""


class _Asked(NamedTuple):
    name: str
    """Empty: the answer belongs to this question alone, as it has arguments."""
    answer: asyncio.Future[Any]


class Link:
    """The parent's end of one child's socket pair; belongs to the running loop.

    ``keep`` gets each answer that arrives, also one that comes late, and what the child reports unasked, with its name.
    """

    def __init__(self, keep: Callable[[str, Any], object] = lambda name, value: None) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._keep = keep
        self._numbers = count(1)
        self._open: dict[int, _Asked] = {}
        self.heard = SignOfLife(asyncio.get_running_loop().time(), is_first=True)
        """Any frame counts, as an answer that there is no answer yet."""
        self._sending = asyncio.Lock()
        self._reading = asyncio.create_task(self._read(), name="answers of a child")

    @property
    def child_end(self) -> int:
        """The descriptor that the child inherits."""
        return self._theirs.fileno()

    def child_started(self) -> None:
        """The child has its end: close this process's copy of it, so that the end of the child is seen."""
        self._theirs.close()

    async def ask(self, name: str, arguments: Mapping[str, Any] | None = None) -> asyncio.Future[Any]:
        """Send a question, and return its answer to come, which may raise NoAnswerError. Raises NoAnswerError."""
        if self._reading.done():
            raise NoAnswerError("it has ended")
        if len(self._open) >= _MOST_OPEN:
            raise NoAnswerError(f"it has not answered the last {_MOST_OPEN} questions")
        number, loop = next(self._numbers), asyncio.get_running_loop()
        asked = self._open[number] = _Asked("" if arguments else name, loop.create_future())
        asked.answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # read, or asyncio logs it
        async with self._sending:
            try:
                await loop.sock_sendall(self._ours, encode(number, name, arguments or {}))
            except OSError as error:
                raise NoAnswerError("it has ended") from error
        return asked.answer

    async def close(self) -> None:
        """The child has ended: read what it has reported last, and end."""
        self._theirs.close()
        await asyncio.wait([self._reading], timeout=PATIENCE)  # a process that it forked may still have its end
        self._reading.cancel()
        await asyncio.wait([self._reading])
        self._ours.close()

    async def _read(self) -> None:
        loop, frames = asyncio.get_running_loop(), Frames()
        try:
            while data := await loop.sock_recv(self._ours, _PIECE):
                self.heard = SignOfLife(loop.time())
                for number, text, value in frames.feed(data):
                    self._take(number, text, value)
        except ConnectionError:
            pass
        except Exception:
            _log.exception("cannot read the answers of a child process")
        finally:
            for asked in self._open.values():
                asked.answer.set_exception(NoAnswerError("it has ended"))
            self._open.clear()

    def _take(self, number: int, text: str, value: Any) -> None:
        if not number:
            self._keep(text, value)
        elif (asked := self._open.pop(number, None)) is not None:
            if text:
                asked.answer.set_exception(NoAnswerError(text))
                return
            asked.answer.set_result(value)
            if asked.name:
                self._keep(asked.name, value)


class Children:
    """The children of this process, by number, and the last answers of each.

    ``on_answer`` gets each answer to a question without arguments when it arrives, also late or unasked: number, name,
    value. ``on_end`` is called after the last one, when a child has ended.
    """

    def __init__(self) -> None:
        self.on_answer: Callable[[int, str, Any], object] = lambda number, name, value: None
        self.on_end: Callable[[int], object] = lambda number: None
        self._links: dict[int, Link] = {}
        self._answers: dict[int, dict[str, ChildAnswer]] = {}

    def open(self, number: int) -> Link:
        """A link for the child of this number, which is about to start."""
        answers = self._answers[number] = {}

        def keep(name: str, value: Any) -> None:
            answers[name] = ChildAnswer(value, asyncio.get_running_loop().time())
            self.on_answer(number, name, value)

        self._links[number] = link = Link(keep)
        return link

    async def close(self, number: int) -> None:
        """The child has ended."""
        await self._links.pop(number).close()
        del self._answers[number]
        self.on_end(number)

    def heard(self) -> dict[int, SignOfLife]:
        """The last sign of life of each child, by its number."""
        return {number: link.heard for number, link in self._links.items()}

    def last(self, number: int, name: str) -> Any:
        """The last answer of a child to a question without arguments; None: it has given none, or it does not run."""
        return self._answers.get(number, {}).get(name, ChildAnswer()).value

    async def ask(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = PATIENCE
    ) -> dict[int, ChildAnswer]:
        """Ask every child, all at once, such as ``metrics``, ``health``, ``events``; what each says, by its number.

        A child that does not answer in time counts with its last answer to this question, if that had no arguments,
        and a ``problem``.
        """
        asked = {
            number: self._ask(link, self._answers[number], name, arguments, timeout)
            for number, link in self._links.items()
        }
        return dict(zip(asked, await asyncio.gather(*asked.values()), strict=True))

    @staticmethod
    async def _ask(
        link: Link, known: Mapping[str, ChildAnswer], name: str, arguments: Mapping[str, Any] | None, timeout: float
    ) -> ChildAnswer:
        problem = f"it has not answered for {timeout:g} s"
        try:
            answer = await link.ask(name, arguments)
            await asyncio.wait([answer], timeout=timeout)  # a late answer is kept all the same
            if answer.done():
                return ChildAnswer(answer.result(), asyncio.get_running_loop().time())
        except NoAnswerError as error:
            problem = str(error)
        return replace(known.get(name, ChildAnswer()) if not arguments else ChildAnswer(), problem=problem)
