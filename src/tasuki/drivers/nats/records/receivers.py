"""Receivers: how the processes of a queue learn that another one lives, and which messages it holds (ADR 63).

Each process that receives from a queue keeps a report in the records, and renews it while it lives (``Receivers``). The
server reports a delivered message only as not acked: a living process may hold it, or it is on its way back. It
delivers a message again that was not renewed for a while, whether its holder lives or not. So the process that gets it
asks all that report, each on its own subject (``Lines``). If that process is dead, the server says at once that there
is no subscriber; a suspended process does not answer. The subject is on the connection on which messages arrive: a
message that was sent to a process before the question arrives there before its answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from tasuki.contracts.driver import SILENCE, QueueSpec
from tasuki.drivers.nats.failures import NO_RESPONDERS
from tasuki.drivers.nats.protocol.api import Answer, SubjectStream, ask, data_of, erasing, seconds_of
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.names import Names
from tasuki.drivers.nats.receiving.pull_requests import paced
from tasuki.drivers.nats.records.temporary import Temporary
from tasuki.drivers.toolkit.guard import KnownQueues
from tasuki.drivers.toolkit.reconnecting import Reconnecting
from tasuki.drivers.toolkit.threaded import LeaseThread
from tasuki.errors import DriverError
from tasuki.system import signals

_PATIENCE = 1.0
"""Seconds within which a living process answers."""
_REMEMBERED = 2.0
"""Seconds for which one that did not answer is not asked again."""
_RETURNS = 0.2
"""Share of ``SILENCE`` within which a living process that has lost its connection is back."""


class Said(NamedTuple):
    """The answers of other processes about some messages."""

    held: Set[int]
    """Those that a living process holds."""
    may_be_held: bool
    """Whether there is a process that cannot say it just now."""
    is_suspended: bool
    """Whether one of these lived less than a lease ago, and gives no sign of life any more.

    One whose event loop is blocked reports all the same, and renews what it holds.
    """


class Lines:
    """Of one driver."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._name = secrets.token_hex(8)
        self._proven_on: Connection | None = None
        self._silent: dict[str, float] = {}
        """When a process did not answer (loop time)."""
        self._gone: dict[str, float] = {}
        """When a process had no subscription, at the second of two questions (loop time).

        Counts for ``SILENCE``: one that lived since then has renewed its messages, which cannot be overdue yet.
        """

    @property
    def who(self) -> str:
        """Tells this process from all others; a forked child is another one than its parent."""
        return f"{self._name}-{os.getpid()}"

    @property
    def subject(self) -> str:
        """Where this process answers."""
        return self._names.line(self.who)

    @property
    def is_proven(self) -> bool:
        """Whether it was heard there: a user may lack the right to subscribe."""
        return self._proven_on is not None

    async def prove(self, connection: Connection) -> None:
        """Ask ourselves, once for each connection."""
        if self._proven_on is not connection:
            exchange = await connection.exchange([(self.subject, _question("", ()))], within=_PATIENCE)
            self._proven_on = connection if isinstance(exchange.answers[0], bytes) else None

    async def reports(self, connection: Connection, queue: str) -> tuple[float, dict[str, Report]]:
        """The server's time, and what the processes of a queue reported last, by their subjects."""
        stream = SubjectStream(self._names.records_stream, queue)
        subjects, info = await stream.subjects(connection, self._names.receiver(queue, "*"))
        if "error" in info:
            return 0.0, {}
        answers = await ask(connection, queue, [stream.last(subject) for subject in subjects]) if subjects else []
        found = {
            subject: Report(answer) for subject, answer in zip(subjects, answers, strict=True) if "message" in answer
        }
        return seconds_of(info["ts"]), found

    async def ask(self, connection: Connection, queue: str, sequences: Collection[int], lease: float) -> Said:
        """Ask all other processes of a queue about messages whose renewal is overdue."""
        now, reports = await self.reports(connection, queue)
        reports.pop(self._names.receiver(queue, self.who), None)
        others = {subject.rpartition(".")[2]: report for subject, report in reports.items() if report.consumers}
        moment = asyncio.get_running_loop().time()
        self._silent = {who: at for who, at in self._silent.items() if moment - at < _REMEMBERED}
        asked = [who for who, report in others.items() if report.has_line and who not in self._silent]
        question = _question(queue, sequences)
        answers = await self._answers(connection, asked, question)
        is_young = moment - connection.opened_at < SILENCE  # others may be about to connect again
        gone = [who for who, answer in answers.items() if answer == NO_RESPONDERS]
        if not is_young and (new := [who for who in gone if moment - self._gone.get(who, -SILENCE) >= SILENCE]):
            await asyncio.sleep(_RETURNS * SILENCE)
            answers |= await self._answers(connection, new, question)
            gone = [who for who, answer in answers.items() if answer == NO_RESPONDERS]
        self._gone = {} if is_young else dict.fromkeys(gone, moment)
        self._silent |= {who: moment for who, answer in answers.items() if answer is None}
        silent = [
            report
            for who, report in others.items()
            if who in self._silent or not (report.has_line or report.is_old(now))  # it could not listen
        ]
        held = {held for answer in answers.values() if isinstance(answer, bytes) for held in json.loads(answer)}
        is_suspended = any(SILENCE / 2 <= report.age(now) < lease for report in silent)
        return Said(held, bool(silent) or (is_young and bool(gone)), is_suspended)

    async def _answers(
        self, connection: Connection, asked: Collection[str], question: bytes
    ) -> dict[str, bytes | str | None]:
        if not asked:
            return {}
        exchange = await connection.exchange([(self._names.line(who), question) for who in asked], within=_PATIENCE)
        return dict(zip(asked, exchange.answers, strict=True))


def _question(queue: str, sequences: Collection[int]) -> bytes:
    return json.dumps({"queue": queue, "held": [*sequences]}).encode()


def answer(question: bytes, held: Callable[[str, Iterable[int]], list[int]]) -> bytes:
    """What to say to a question; ``held``: which of these messages of a queue this process holds."""
    try:
        asked = json.loads(question)
        return json.dumps(held(asked["queue"], asked["held"])).encode()
    except (ValueError, KeyError, TypeError, RecursionError):  # another program asked
        return b"[]"


class Report:
    """What a process said of the queues from which it receives: a message of the records."""

    def __init__(self, answer: Answer) -> None:
        self._message: Mapping[str, Any] = answer["message"]
        try:
            word = json.loads(data_of(self._message))
            self.consumers = int(word["consumers"])
            self._lasts = float(word["lasts"])
            self.has_line = bool(word["line"])
        except (ValueError, KeyError, TypeError, AttributeError):  # another program wrote it
            self.consumers, self._lasts, self.has_line = 0, 0.0, False

    @property
    def number(self) -> int:
        """Of its message in the stream."""
        return int(self._message["seq"])

    def age(self, now: float) -> float:
        """Seconds since it came, by the server's time."""
        return now - seconds_of(self._message["time"])

    def is_old(self, now: float, more: float = 0.0) -> bool:
        """Whether its time ended ``more`` seconds ago or earlier."""
        return self.age(now) > self._lasts + more


def word(consumers: int, lasts: float, *, has_line: bool) -> bytes:
    """The content of a report."""
    return json.dumps({"consumers": consumers, "lasts": lasts, "line": has_line}).encode()


EVERY = 5.0
"""Seconds between two renewals of a process that holds messages, at least."""
LASTS = 17.5
"""Seconds after which a process that said nothing more is taken for dead, at least."""
IDLE = 240.0
"""Seconds between two renewals of a process that holds none, at least: there is nothing to count wrongly then."""
UNUSED = 10.0
"""Seconds after which a queue that is not received from, and of which nothing is held, is reported no more."""
KEPT = 60.0
"""Seconds after that until its report is erased: a suspended process may be asked about until its leases end."""
_ERASED = 100
"""Words of dead processes, erased at a time."""
T = TypeVar("T")


class Receivers:
    """Reports the queues from which this process receives, and keeps its temporary queues.

    Args:
        names: of streams and subjects.
        leases: the thread that renews the reports.
        temporary: the notes of temporary queues.
        known: the queues that this process has declared.
        is_used: whether a receive of a queue waits here, or a message of it is held; asked in the lease thread.
        is_held: whether a message of it is held; asked there too.
        lines: the answers of the processes about each other.
    """

    def __init__(
        self,
        names: Names,
        leases: LeaseThread[Reconnecting[Connection]],
        temporary: Temporary,
        known: KnownQueues[QueueSpec],
        is_used: Callable[[str], bool],
        is_held: Callable[[str], bool],
        lines: Lines,
    ) -> None:
        self._names = names
        self._leases = leases
        self._temporary = temporary
        self._known = known
        self._is_used = is_used
        self._is_held = is_held
        self._lines = lines
        self._used_at: dict[str, float] = {}
        self._renew_at: dict[str, float] = {}
        """When the report of a queue is due of which nothing is held."""
        self._queues: set[str] = set()
        self._reported: set[str] = set()
        self._forks = signals.fork_count
        self._task: asyncio.Task[None] | None = None

    @property
    def queues(self) -> set[str]:
        """The queues from which this process has received; a forked child begins without its parent's."""
        if self._forks != signals.fork_count:
            self._forks, self._queues, self._reported = signals.fork_count, set(), set()
        return self._queues

    async def join(self, queue: str, connection: Connection, lease: float) -> None:
        """Report that this process receives from the queue: at once if others may ask what it holds.

        Else with the next renewal, and a short-lived one reports nothing. Until then others take messages held here for
        messages on their way back.
        """
        if lease > SILENCE:
            with suppress(DriverError):  # the next renewal reports
                await self._lines.prove(connection)
                await self._report(connection, [queue])
                self._reported.add(queue)
        self.queues.add(queue)
        self.keep_on()

    async def leave(self, queue: str) -> None:
        """Report that it receives from the queue no more. Raises DriverError."""
        self.queues.discard(queue)
        if queue in self._reported:
            await self._run(lambda connection: self._retract(connection, [queue]))

    def begin(self) -> None:
        """Say it all again, as soon as there is a connection; a task of a parent process is left alone."""
        self._task = None
        self.keep_on()

    async def end(self) -> None:
        """Report nothing until ``begin``; a report that cannot be sent times out by itself."""
        await self.stop()
        if queues := list(self._reported):
            with suppress(DriverError):
                await self._run(lambda connection: self._retract(connection, queues))

    async def stop(self) -> None:
        """Renew no longer."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])  # its work in the thread is cancelled before the next work begins

    def keep_on(self) -> None:
        """Renew the reports and the notes of temporary queues, if there are any."""
        if (self._task is None or self._task.done()) and self._is_needed:
            self._task = asyncio.get_running_loop().create_task(self._renew(), name="renew nats receivers")

    @property
    def _is_needed(self) -> bool:
        return bool(self.queues or self._ours)

    @property
    def _ours(self) -> list[str]:
        """The temporary queues that this process keeps."""
        return [spec.name for spec in self._known.declared() if spec.temporary and self._known.is_kept(spec.name)]

    async def _run(self, work: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        async def connected(link: Reconnecting[Connection]) -> T:
            return await work(await link.get())

        return await self._leases.run(connected)

    async def _renew(self) -> None:
        """Go on in the lease thread, and on its next loop if it fails, until ``end``."""
        self._renew_at = {}
        while self._is_needed:
            await asyncio.sleep(self._every)
            with suppress(DriverError):
                await self._leases.run(self._renew_there)

    @property
    def _every(self) -> float:
        return paced(EVERY, len(self.queues))

    async def _renew_there(self, link: Reconnecting[Connection]) -> None:
        """Runs in the lease thread, so that a blocked loop does not look like a dead process."""
        while self._is_needed:
            with suppress(DriverError):  # until the connection is back, other processes do not count this one
                connection, now = await link.get(), asyncio.get_running_loop().time()
                if unused := self._unused(now):
                    await self._retract(connection, unused)
                queues = list(self.queues)
                self._reported.update(queues)
                await self._report_due(connection, queues, now)
                # Read again: a queue that was deleted meanwhile must not be kept any more.
                await self._temporary.beat(connection, self._ours)
            await asyncio.sleep(self._every)

    def _unused(self, now: float) -> list[str]:
        """Take out the queues that were left, as by a batch of dead letters that has ended; the next receive joins.

        Else messages that this process released count as held by it, as long as it lives.
        """
        unused: list[str] = []
        for queue in list(self.queues):
            if self._is_used(queue):
                self._used_at[queue] = now
            elif now - self._used_at.setdefault(queue, now) > UNUSED:
                self.queues.discard(queue)
                del self._used_at[queue]
                unused.append(queue)
        return unused

    async def _report_due(self, connection: Connection, queues: Collection[str], now: float) -> None:
        """Each time of which something is held; of the others seldom, and right after the last message."""
        held = [queue for queue in queues if self._is_held(queue)]
        for queue in held:
            self._renew_at.pop(queue, None)
        await self._report(connection, held)
        idle, pause = (
            [each for each in queues if each not in held and now >= self._renew_at.get(each, now)],
            self._pause,
        )
        await self._report(connection, idle, more=pause)
        self._renew_at.update(dict.fromkeys(idle, now + pause))

    @property
    def _pause(self) -> float:
        """Seconds between two reports of a queue of which nothing is held."""
        return max(IDLE, self._every)

    async def _report(
        self, connection: Connection, queues: Collection[str], receivers: int = 1, more: float = 0.0
    ) -> None:
        """Say how many receive; it counts until some renewals were missed, and this many seconds more."""
        if not queues:
            return
        lasts = LASTS * self._every / EVERY + more
        said = word(receivers, lasts, has_line=self._lines.is_proven)
        (await connection.exchange([(self._subject(queue), said) for queue in queues])).check()

    def _subject(self, queue: str) -> str:
        return self._names.receiver(queue, self._lines.who)

    async def _retract(self, connection: Connection, queues: Sequence[str]) -> None:
        """Erase the reports of this process, and of dead ones, which would stay forever."""
        await self._report(connection, queues, 0)  # after this answer no earlier report is on its way
        await SubjectStream(self._names.records_stream).erase(connection, *map(self._subject, queues))
        self._reported.difference_update(queues)
        for queue in queues:
            self._renew_at.pop(queue, None)
            await self.are_elsewhere(connection, queue)

    async def are_elsewhere(self, connection: Connection, queue: str) -> bool:
        """Whether another living process receives from the queue."""
        now, reports = await self._lines.reports(connection, queue)
        stream = self._names.records_stream
        dead = [
            erasing(stream, subject, up_to=report.number)  # a report that came meanwhile stays
            for subject, report in reports.items()
            if report.is_old(now, KEPT)
        ]
        if dead:
            await ask(connection, queue, dead[:_ERASED])
        reports.pop(self._subject(queue), None)
        return any(report.consumers > 0 and not report.is_old(now) for report in reports.values())
