"""API: JetStream's requests, many at a time, and their answers as plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tasuki.drivers.nats.failures import NO_RESPONDERS, lost, refusal
from tasuki.drivers.nats.protocol.connection import Connection

Answer = Mapping[str, Any]
Request = tuple[str, Mapping[str, Any]]

NO_JETSTREAM = "JetStream does not answer: is it enabled (nats-server -js), and is there a leader?"
SECOND = 1_000_000_000
_ONCE = "STREAM.MSG.DELETE."


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
    if exchange.problem is not None:
        exchange.problem.queue = queue
        raise exchange.problem
    answers: list[Answer] = []
    for answer in exchange.answers:
        if answer == NO_RESPONDERS:
            raise lost(NO_JETSTREAM, driver=driver, queue=queue)
        try:
            answers.append(json.loads(answer or b"{}"))
        except ValueError as error:
            raise lost("an answer that cannot be read", driver=driver, queue=queue) from error
    return answers


async def demand(connection: Connection, queue: str, *requests: Request) -> list[Answer]:
    """As ``ask``; an error among the answers is raised."""
    answers = await ask(connection, queue, requests)
    for answer in answers:
        if error := answer.get("error"):
            raise refusal(error, driver=connection.address.driver, queue=queue)
    return answers


def seconds_of(text: str) -> float:
    """A time of the server (RFC 3339, nanoseconds) in Unix seconds."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
