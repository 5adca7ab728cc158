"""Book: what the server does not keep for us, as the last message on a subject each.

The server counts every delivery. A delivery that was handed back untouched, or that only served to wait for a message's
time, must not count; so before such a message goes back the book says how many of its deliveries were of that sort:
``<prefix>.b.r.<queue>.<epoch>.<sequence>.<due>.<refunds>``, with the
number of deliveries and the receipt as content. ``due`` is the time in Unix
milliseconds until which the message is hidden, 0 if it is not. Entries go when their message is acked.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tasuki.drivers.nats.api import Request, ask
from tasuki.drivers.nats.connection import Connection
from tasuki.drivers.nats.failures import NO_RESPONDERS, error_in, is_stream_missing, refusal
from tasuki.drivers.nats.names import Names

PAGE = 1000


class Note(NamedTuple):
    """One entry: the message went back, hidden until ``due`` (Unix seconds, 0: not hidden)."""

    sequence: int
    due: float
    refunds: int
    """How many of its deliveries did not count; -1: it was never delivered, and is hidden from the start."""
    delivered: int = 0
    """How many deliveries there were; a server that dies may forget the last ones. Known to ``read`` only."""


def note_in(subject: str, content: bytes = b"") -> Note | None:
    """What a subject of the book says, and its content; None if it is not one of these."""
    try:
        sequence, due, refunds = map(int, subject.rsplit(".", 3)[1:])
        return Note(sequence, due / 1000, refunds, int(content.partition(b" ")[0] or 0))
    except ValueError:
        return None


class Book:
    """The entries of one queue; ``epoch`` tells its stream from earlier ones of the same name."""

    def __init__(self, names: Names, queue: str, epoch: str) -> None:
        self._names = names
        self._queue = queue
        self._epoch = epoch
        self.is_missing = False
        """Whether its stream is known to be gone."""

    async def write(self, connection: Connection, notes: Sequence[tuple[Note, str]]) -> None:
        """Keep notes with their receipts; returns when the server has them. Raises DriverError if one is not kept."""
        requests = [
            (
                self._subject(note.sequence, int(note.due * 1000 + 0.999), note.refunds),
                f"{note.delivered} {receipt}".encode(),
            )
            for note, receipt in notes
        ]
        exchange = await connection.exchange(requests)
        if exchange.problem is not None:
            exchange.problem.queue = self._queue
            raise exchange.problem
        self.is_missing = NO_RESPONDERS in exchange.answers
        for answer in exchange.answers:
            error = error_in(answer) if isinstance(answer, bytes) else {"code": 503, "description": "no book"}
            if error:
                raise refusal(error, driver=connection.address.driver, queue=self._queue)

    async def read(self, connection: Connection, sequences: Sequence[int]) -> list[Note | None]:
        """The last note on each of the messages, or None where there is none."""
        requests: list[Request] = [
            (f"STREAM.MSG.GET.{self._names.book}", {"last_by_subj": self._subject(sequence, ">")})
            for sequence in sequences
        ]
        answers = await ask(connection, self._queue, requests)
        return [
            note_in(answer["message"]["subject"], base64.b64decode(answer["message"].get("data", "")))
            if "message" in answer
            else None
            for answer in answers
        ]

    async def erase(self, connection: Connection, sequences: Iterable[int]) -> None:
        """Forget messages that are done; what cannot be erased now does no harm."""
        requests: list[Request] = [
            (f"STREAM.PURGE.{self._names.book}", {"filter": self._subject(sequence, ">")}) for sequence in sequences
        ]
        if requests:
            await ask(connection, self._queue, requests)

    async def erase_all(self, connection: Connection) -> None:
        """Forget the queue, with all streams that it had."""
        everything = self._names.returned(self._queue, "*", ">")
        await ask(connection, self._queue, [(f"STREAM.PURGE.{self._names.book}", {"filter": everything})])

    async def hidden(self, connection: Connection, now: float) -> list[Note]:
        """The messages that are hidden at the time ``now``, the next one to come first."""
        notes = await self.notes(connection)
        return sorted((note for note in notes.values() if note.due > now), key=lambda note: note.due)

    async def notes(self, connection: Connection) -> dict[int, Note]:
        """All messages that have a note, each with the last ``due`` that it had."""
        latest: dict[int, Note] = {}
        offset, total = 0, 1
        while offset < total:
            fields = {"subjects_filter": self._subject(">"), "offset": offset}
            (info,) = await ask(connection, self._queue, [(f"STREAM.INFO.{self._names.book}", fields)])
            if is_stream_missing(info.get("error")):
                self.is_missing = True
                return {}
            if error := info.get("error"):
                raise refusal(error, driver=connection.address.driver, queue=self._queue)
            found = info["state"].get("subjects") or {}
            for note in filter(None, map(note_in, found)):
                if note.sequence not in latest or latest[note.sequence].due < note.due:
                    latest[note.sequence] = note
            offset += max(len(found), 1)
            total = int(info.get("total", 0))
        return latest

    async def receipts(self, connection: Connection, sequences: Sequence[int]) -> dict[int, str]:
        """The receipts of noted messages."""
        found: dict[int, str] = {}
        for start in range(0, len(sequences), PAGE):
            part = sequences[start : start + PAGE]
            requests: list[Request] = [
                (f"STREAM.MSG.GET.{self._names.book}", {"last_by_subj": self._subject(sequence, ">")})
                for sequence in part
            ]
            for sequence, answer in zip(part, await ask(connection, self._queue, requests), strict=True):
                if "message" in answer:
                    content = base64.b64decode(answer["message"].get("data", "")).decode()
                    found[sequence] = content.partition(" ")[2]
        return found

    def _subject(self, sequence: int | str, *rest: int | str) -> str:
        return self._names.returned(self._queue, self._epoch, sequence, *rest)
