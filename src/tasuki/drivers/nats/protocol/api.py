"""API: JetStream's requests, many at a time, and their answers as plain values."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tasuki.drivers.nats.failures import NO_RESPONDERS, answer_in, is_name_taken, is_stream_missing, lost, refusal
from tasuki.drivers.nats.protocol.connection import Connection

Answer = Mapping[str, Any]
Request = tuple[str, Mapping[str, Any]]

NO_JETSTREAM = "JetStream does not answer: is it enabled (nats-server -js), and is there a leader?"
SECOND = 1_000_000_000
_ONCE = "STREAM.MSG.DELETE."

NOT_TAKEN = {"error": {"code": 503, "description": "no stream takes the record"}}
"""The answer to a record that no stream takes."""


async def ask(connection: Connection, queue: str, requests: Sequence[Request]) -> list[Answer]:
    """The answers, errors among them (``{"error": …}``), in order.

    Raises:
        BrokerUnavailableError, BrokerTimeoutError: not all were answered.
    """
    driver = connection.address.driver
    raw = [
        (f"{connection.address.api}.{verb}", json.dumps(fields).encode() if fields else b"")
        for verb, fields in requests
    ]
    # All but the removal of a message, whose second answer would be that there is no such message.
    is_repeated = not any(verb.startswith(_ONCE) for verb, _ in requests)
    exchange = await connection.exchange(raw, is_repeated=is_repeated)
    exchange.check(queue)
    answers: list[Answer] = []
    for answer in exchange.answers:
        if answer == NO_RESPONDERS:
            raise lost(NO_JETSTREAM, driver=driver, queue=queue)
        try:
            answers.append(json.loads(answer or b"{}"))
        except ValueError as error:
            raise lost("an answer that cannot be read", driver=driver, queue=queue) from error
    return answers


async def demand(
    connection: Connection, queue: str, *requests: Request, unless: Callable[[Any], bool] = lambda _: False
) -> list[Answer]:
    """As ``ask``; an error among the answers is raised, unless it is one of these."""
    answers = await ask(connection, queue, requests)
    for answer in answers:
        if (error := answer.get("error")) and not unless(error):
            raise refusal(error, driver=connection.address.driver, queue=queue)
    return answers


async def store(
    connection: Connection, queue: str, records: Sequence[tuple[str, bytes]], headers: Sequence[bytes] = ()
) -> list[Answer]:
    """Publish records, as subjects and contents; returns the server's answer to each, which may have an error.

    Raises:
        BrokerUnavailableError, BrokerTimeoutError: not all were answered.
    """
    exchange = await connection.exchange(records, headers=headers)
    exchange.check(queue)
    return [answer_in(answer) if isinstance(answer, bytes) else NOT_TAKEN for answer in exchange.answers]


class SubjectStream:
    """A stream of which the last message on each subject counts: side records, ids, the entries of a store.

    Args:
        name: the stream's name.
        queue: the queue that errors name.
    """

    def __init__(self, name: str, queue: str = "") -> None:
        self.name = name
        self.queue = queue

    def info(self, **fields: Any) -> Request:
        """Ask for the stream's state and the server's time."""
        return f"STREAM.INFO.{self.name}", fields

    def last(self, subject: str) -> Request:
        """Ask for the last message on a subject."""
        return f"STREAM.MSG.GET.{self.name}", {"last_by_subj": subject}

    def next(self, subjects: str, sequence: int) -> Request:
        """Ask for the first message from a sequence on that the filter finds."""
        return f"STREAM.MSG.GET.{self.name}", {"seq": sequence, "next_by_subj": subjects}

    async def demand(
        self, connection: Connection, *requests: Request, unless: Callable[[Any], bool] = lambda _: False
    ) -> list[Answer]:
        """The answers to requests. Raises DriverError for an error among them, unless it is one of these."""
        return await demand(connection, self.queue, *requests, unless=unless)

    async def make(self, connection: Connection, config: Mapping[str, Any]) -> Answer:
        """Make the stream if it is missing; returns the server's description, perhaps of another configuration."""
        (info,) = await self.demand(connection, self.info(), unless=is_stream_missing)
        if "error" in info:
            create: Request = f"STREAM.CREATE.{self.name}", {"name": self.name, "max_msgs_per_subject": 1, **config}
            (info,) = await self.demand(connection, create, unless=is_name_taken)
        if "error" in info:  # another process was faster
            (info,) = await self.demand(connection, self.info())
        return info

    async def subjects(self, connection: Connection, subjects: str) -> tuple[list[str], Answer]:
        """The subjects that the filter finds, and the first answer; it has an error if the stream is missing."""
        found: list[str] = []
        first: Answer = {}
        total = 1
        while len(found) < total:
            request = self.info(subjects_filter=subjects, offset=len(found))
            (answer,) = await self.demand(connection, request, unless=is_stream_missing)
            if "error" in answer:
                return [], answer
            first = first or answer
            part = answer["state"].get("subjects") or {}
            found += part
            total = int(answer.get("total", 0)) if part else 0
        return found, first

    async def erase(self, connection: Connection, *subjects: str) -> None:
        """Remove all messages on these subjects. Raises DriverError without an answer; a refusal is ignored."""
        if subjects:
            await ask(connection, self.queue, [erasing(self.name, subject) for subject in subjects])


def erasing(stream: str, subject: str, *, up_to: int | None = None) -> Request:
    """What removes the messages on a subject from a stream: all of them, or all up to a number."""
    fields = {"filter": subject} if up_to is None else {"filter": subject, "seq": up_to + 1}
    return f"STREAM.PURGE.{stream}", fields


def removing(stream: str, number: int) -> Request:
    """What removes one message from a stream."""
    return f"{_ONCE}{stream}", {"seq": number, "no_erase": True}


def data_of(message: Mapping[str, Any]) -> bytes:
    """The content of a message in an answer."""
    return base64.b64decode(message.get("data", ""))


def seconds_of(text: str) -> float:
    """A time of the server (RFC 3339, nanoseconds) in Unix seconds."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
