"""Side records: what the server does not keep for us, as the last message on a subject each.

The server counts deliveries; the contract counts failures, and wants to know whether the last delivery ended without a
settlement. So a worker writes a note whenever a delivery ends otherwise than by an ack, and when it records a start:
``<prefix>.b.r.<queue>.<epoch>.<sequence>.<lane>.<due>``. Its content says how many deliveries had ended by then, how
many of them failed, whether the message is a suspect, after a failure with an error its time and the error, and the
receipt. A message that was delivered more often than its note says lost its last delivery. Publishers note first delays
in the same way, unless a worker was faster: they write after the message is stored. A worker that puts the message off
until the same time replaces that note.

``due`` is the time in Unix milliseconds until which the message is hidden, 0 if it is not. Notes are erased when their
message is acked.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from tasuki.drivers.nats.failures import refusal
from tasuki.drivers.nats.protocol.api import (
    NOT_TAKEN,
    SECOND,
    Request,
    SubjectStream,
    ask,
    data_of,
    erasing,
    removing,
    seconds_of,
    store,
)
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.names import Names, digest
from tasuki.drivers.nats.queues.setup import Storage
from tasuki.errors import DriverError

SHORTEST = 0.1
"""Seconds of the shortest window that a server takes."""


class DedupIds:
    """The ids of one queue, also of settled messages, in a stream whose messages end after the ``dedup_window``.

    The server keeps the ids of a queue's stream in memory and reads them out of the stored messages when it starts; so
    after a restart it has forgotten the ids of settled messages. The record is written after the message is stored: an
    id without a message would lose the message when it is published again.
    """

    def __init__(self, names: Names, queue: str) -> None:
        self._names = names
        self._queue = queue
        self._stream = SubjectStream(names.ids_stream(queue), queue)

    async def make(self, connection: Connection, window: float, storage: Storage) -> None:
        """Make the stream, or give it the window."""
        age = int(max(window, SHORTEST) * SECOND)
        config = {
            "subjects": [self._names.id_subject(self._queue, "*")],
            "retention": "limits",
            "max_age": age,
            "duplicate_window": min(age, 120 * SECOND),
            "storage": storage.kind,
            "num_replicas": storage.replicas,
        }
        info = await self._stream.make(connection, config)
        if info["config"]["max_age"] != age:
            update: Request = f"STREAM.UPDATE.{self._stream.name}", {**info["config"], **config}
            await self._stream.demand(connection, update)

    async def known(self, connection: Connection, ids: Sequence[str]) -> set[str]:
        """Which of the ids were published within the window."""
        requests = [self._stream.last(self._names.id_subject(self._queue, digest(id))) for id in ids]
        if not requests:
            return set()
        # The server removes old ids only now and then; its own time decides which are too old.
        *answers, info = await ask(connection, self._queue, [*requests, self._stream.info()])
        if "config" not in info:
            return set()
        oldest = seconds_of(info["ts"]) - int(info["config"]["max_age"]) / SECOND
        return {
            id
            for id, answer in zip(ids, answers, strict=True)
            if "message" in answer and seconds_of(answer["message"]["time"]) > oldest
        }

    async def remember(self, connection: Connection, ids: Iterable[str]) -> None:
        """Write down ids of stored messages. Raises DriverError if that is not sure."""
        requests = [(self._names.id_subject(self._queue, digest(id)), b"") for id in ids]
        (await connection.exchange(requests)).check()

    async def delete(self, connection: Connection) -> None:
        """Forget all."""
        await ask(connection, self._queue, [(f"STREAM.DELETE.{self._stream.name}", {})])


PAGE = 1000


class LastError(NamedTuple):
    """Why a message failed last, and when (Unix seconds)."""

    text: str
    at: float


class Note(NamedTuple):
    """The facts about a message beside the server's count of its deliveries."""

    sequence: int
    lane: str
    due: float = 0.0
    """Hidden until then (Unix seconds); 0: not hidden."""
    failures: int = 0
    delivered: int = 0
    """How many of its deliveries have ended, as far as is known; a server that dies may forget the last ones."""
    is_suspect: bool = False
    last_error: LastError | None = None
    number: int = 0
    """Of its message in the records; 0: not known."""
    older: int = 0
    """Of the note that it replaces on another subject; 0: there is none."""
    is_publishers: bool = False
    """Whether it tells nothing of deliveries, as its publisher wrote it."""

    def after(self, older: Note | None) -> Note:
        """This note in the place of an older one: one of another time lies on another subject."""
        return self if older is None or older.due == self.due else self._replace(older=older.number)

    def content(self, receipt: str) -> bytes:
        """The content of its message; ``note_in`` is the reverse."""
        error = "" if self.last_error is None else f"{self.last_error.at!r} {_coded(self.last_error.text)} "
        return f"{self.delivered} {self.failures} {self.is_suspect:d} {error}{receipt}".encode()


def _coded(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "replace")).decode()


def _error_in(fields: Sequence[bytes]) -> LastError | None:
    try:
        return LastError(base64.b64decode(fields[1], validate=True).decode(), float(fields[0]))
    except (ValueError, IndexError):
        return None  # there is none, or another program wrote it; the counts matter more


def note_in(subject: str, content: bytes = b"", number: int = 0) -> Note | None:
    """The note of a subject of the records, its content and number; None if it is not one of these."""
    try:
        sequence, lane, due = subject.rsplit(".", 3)[1:]
        fields, is_publishers = content.split(b" ") if content else [b"0"] * 3, content.endswith(b" ")
        delivered, failures, suspect = map(int, fields[:3])
        last_error = _error_in(fields[3:-1])
        counts = failures, delivered, bool(suspect)
        return Note(int(sequence), lane, int(due) / 1000, *counts, last_error, number, 0, is_publishers)
    except ValueError:
        return None


_IF_FIRST = b"NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: 0\r\n\r\n"


class SideRecords:
    """The notes of one queue; ``epoch`` tells its stream from earlier ones of the same name."""

    def __init__(self, names: Names, queue: str, epoch: str) -> None:
        self._names = names
        self._queue = queue
        self._epoch = epoch
        self._stream = SubjectStream(names.records_stream, queue)
        self.is_missing = False
        """Whether its stream is known to be gone."""

    async def write(self, connection: Connection, notes: Sequence[tuple[Note, str]]) -> list[Note]:
        """Keep notes with their receipts; returns them with their numbers. Raises DriverError if one is not kept."""
        if not notes:
            return []
        answers = await store(connection, self._queue, self._records(notes))
        self.is_missing = NOT_TAKEN in answers
        for error in (answer["error"] for answer in answers if "error" in answer):
            raise refusal(error, driver=connection.address.driver, queue=self._queue)
        await self.erase(connection, [note.older for note, _ in notes if note.older])
        return [note._replace(number=answer["seq"]) for (note, _), answer in zip(notes, answers, strict=True)]

    async def announce(self, connection: Connection, notes: Sequence[Note]) -> None:
        """Keep a publisher's notes, unless a worker was faster; only ``depth`` and ``peek`` need them."""
        records = self._records([(note, "") for note in notes])
        with suppress(DriverError):
            self.is_missing = NOT_TAKEN in await store(connection, self._queue, records, [_IF_FIRST] * len(records))

    def _records(self, notes: Sequence[tuple[Note, str]]) -> list[tuple[str, bytes]]:
        return [
            (self._subject(note.sequence, note.lane, int(note.due * 1000 + 0.999)), note.content(receipt))
            for note, receipt in notes
        ]

    async def read(self, connection: Connection, sequences: Sequence[int]) -> list[Note | None]:
        """The last note of a worker on each of the messages, or its publisher's, or None where there is none."""
        found = await self._read(connection, [self._last(sequence) for sequence in sequences])
        late = [index for index, note in enumerate(found) if note is not None and note.is_publishers]
        if late:  # a publisher that was slow may have written after a worker
            requests = [self._stream.next(self._subject(sequences[index], ">"), 1) for index in late]
            for index, note in zip(late, await self._read(connection, requests), strict=True):
                found[index] = note
        return found

    async def _read(self, connection: Connection, requests: Sequence[Request]) -> list[Note | None]:
        messages = [answer.get("message") for answer in await ask(connection, self._queue, requests)]
        return [note_in(each["subject"], data_of(each), each["seq"]) if each else None for each in messages]

    async def erase(self, connection: Connection, numbers: Sequence[int], sequences: Iterable[int] = ()) -> None:
        """Remove notes by their numbers, and all notes on messages of which no number is known.

        A note that is left does no harm: the number of its message never comes again. The server reads every record
        from the first to the last one that a filter finds (ADR 75), so there is one note on a message at a time.
        """
        requests = [removing(self._stream.name, number) for number in numbers]
        requests += [erasing(self._stream.name, self._subject(sequence, ">")) for sequence in sequences]
        if requests:
            with suppress(DriverError):
                await ask(connection, self._queue, requests)

    async def erase_all(self, connection: Connection) -> None:
        """Forget the queue, with all streams that it had."""
        await self._stream.erase(connection, self._names.returned(self._queue, "*", ">"))

    async def hidden(self, connection: Connection, now: float) -> list[Note]:
        """The messages that are hidden at the time ``now``, the next one to come first."""
        return hidden_among(await self.notes(connection), now)

    async def notes(self, connection: Connection) -> dict[int, Note]:
        """All messages that have a note, each with the last ``due`` that it had; no more is read of the notes."""
        found, info = await self._stream.subjects(connection, self._subject(">"))
        self.is_missing = self.is_missing or "error" in info
        latest: dict[int, Note] = {}
        for note in filter(None, map(note_in, found)):
            if note.sequence not in latest or latest[note.sequence].due < note.due:
                latest[note.sequence] = note
        return latest

    async def receipts(self, connection: Connection, sequences: Sequence[int]) -> dict[int, str]:
        """The receipts that workers noted; empty where only the publisher did."""
        found: dict[int, str] = {}
        for start in range(0, len(sequences), PAGE):
            part = sequences[start : start + PAGE]
            requests = [self._last(sequence) for sequence in part]
            for sequence, answer in zip(part, await ask(connection, self._queue, requests), strict=True):
                if "message" in answer:
                    found[sequence] = data_of(answer["message"]).decode().rpartition(" ")[2]
        return found

    def _last(self, sequence: int) -> Request:
        """What reads the last note on a message."""
        return self._stream.last(self._subject(sequence, ">"))

    def _subject(self, sequence: int | str, *rest: int | str) -> str:
        return self._names.returned(self._queue, self._epoch, sequence, *rest)


def hidden_among(notes: Mapping[int, Note], now: float) -> list[Note]:
    """The messages that are hidden at the time ``now``, the next one to come first."""
    return sorted((note for note in notes.values() if note.due > now), key=lambda note: note.due)
