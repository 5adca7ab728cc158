"""Lines: by which the processes of a queue learn of each other whether they live, and what they hold (ADR 63).

The server delivers a message again that was not renewed for a while, whether its holder lives or not. So the process
that receives it asks all that report to receive from the queue, each on its own subject. If that process is dead, the
server says at once that there is no subscriber; a suspended process does not answer. The subject is on the connection
on which messages arrive: so a message that was sent to a process before the question arrives there before its answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from typing import Any, NamedTuple

from tasuki.contracts.driver import SILENCE
from tasuki.drivers.nats.failures import NO_RESPONDERS
from tasuki.drivers.nats.protocol.api import Answer, Request, ask, data_of, seconds_of
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.names import Names

_PATIENCE = 1.0
"""Seconds within which a living process answers."""
_REMEMBERED = 2.0
"""Seconds for which one that did not answer is not asked again."""
_RETURNS = 0.2
"""Share of ``SILENCE`` within which a living process that has lost its connection is back."""


class Said(NamedTuple):
    """What other processes say of some messages."""

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
        stream = self._names.records_stream
        fields = {"subjects_filter": self._names.receiver(queue, "*")}
        (info,) = await ask(connection, queue, [(f"STREAM.INFO.{stream}", fields)])
        if "state" not in info:
            return 0.0, {}
        subjects = list(info["state"].get("subjects") or {})
        requests: list[Request] = [(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject}) for subject in subjects]
        answers = await ask(connection, queue, requests) if requests else []
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
