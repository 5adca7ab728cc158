"""API: JetStream's requests, many at a time, and their answers as plain values."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tasuki.drivers.nats.failures import NO_RESPONDERS, error_in, lost, refusal
from tasuki.drivers.nats.protocol.connection import Connection

Answer = Mapping[str, Any]
Request = tuple[str, Mapping[str, Any]]

NO_JETSTREAM = "JetStream does not answer: is it enabled (nats-server -js), and is there a leader?"
SECOND = 1_000_000_000
_ONCE = "STREAM.MSG.DELETE."

NOT_TAKEN = {"code": 503, "description": "no stream takes the record"}
"""The error of a record that no stream takes."""


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
) -> list[Any]:
    """Publish records, as subjects and contents; returns the error of each, None where the server has it.

    Raises:
        BrokerUnavailableError, BrokerTimeoutError: not all were answered.
    """
    exchange = await connection.exchange(records, headers=headers)
    exchange.check(queue)
    return [error_in(answer) if isinstance(answer, bytes) else NOT_TAKEN for answer in exchange.answers]


def erasing(stream: str, subject: str, *, up_to: int | None = None) -> Request:
    """What removes the messages on a subject from a stream: all of them, or all up to a number."""
    fields = {"filter": subject} if up_to is None else {"filter": subject, "seq": up_to + 1}
    return f"STREAM.PURGE.{stream}", fields


def data_of(message: Mapping[str, Any]) -> bytes:
    """The content of a message in an answer."""
    return base64.b64decode(message.get("data", ""))


def seconds_of(text: str) -> float:
    """A time of the server (RFC 3339, nanoseconds) in Unix seconds."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
