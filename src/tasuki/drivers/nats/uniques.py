"""Uniques: a message that is the only one of its key until it is done.

Each key has its own subject in the queue's stream, and its message is published with "no message is on this
subject". A work queue forgets a message when it is acked, removed or purged, so nothing has to give the key free; a
message that is held, delayed or returned stays where it is.

``pending``, ``replace`` and ``extend`` would need to know whether a message is held, in the step that stores another:
the stream does not know. A window would have to name a message that may be done by then: the server remembers its
number for a time, but not its id, and after a restart neither.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from tasuki.contracts.driver import Merged, Outgoing
from tasuki.drivers.nats.envelope import unpack
from tasuki.drivers.nats.failures import is_message_missing, is_wrong_sequence, refusal
from tasuki.drivers.nats.protocol.api import Answer, Request, ask, data_of
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.lanes import Plan
from tasuki.errors import DriverError, ThrottledError

CLAIMED = frozenset({"running", "keep"})
"""The spans and acts that the driver knows."""
TRIES = 20
"""How often a message is published whose key was taken, and free again when we looked who has it."""
_ALONE = b"Nats-Expected-Last-Subject-Sequence: 0\r\n"


def header(message: Outgoing, id: str | None) -> bytes:
    """What goes before a message; ``id``: for the server's memory of ids."""
    lines = b"" if id is None else b"Nats-Msg-Id: %b\r\n" % id.encode()
    if message.unique is not None:
        lines += _ALONE
    return b"NATS/1.0\r\n%b\r\n" % lines if lines else b""


def reason_against(message: Outgoing, plan: Plan) -> str:
    """Why a unique message cannot be kept so; empty: it can."""
    if plan.ordered and message.key is not None:
        what = "an ordering key"
    elif message.priority > 0:
        what = "a priority"
    else:
        return ""
    return (
        f"it is unique and has {what}: NATS keeps unique messages in a lane of their own, which knows neither keys nor "
        "priorities; publish it without one of both"
    )


def is_kept_out(message: Outgoing, answer: bytes | str | None) -> bool:
    """Whether the server says that another message has the key."""
    if message.unique is None or not isinstance(answer, bytes) or b'"error"' not in answer:
        return False
    return is_wrong_sequence(json.loads(answer).get("error"))


async def others(
    connection: Connection, queue: str, stream: str, messages: Sequence[tuple[Outgoing, str]]
) -> list[Merged | DriverError | None]:
    """Who has the keys of these messages, given with their subjects; None: the key is free by now.

    Where that is not known, the error; the message was not stored.
    """
    requests: list[Request] = [(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject}) for _, subject in messages]
    try:
        answers = await ask(connection, queue, requests)
    except DriverError as problem:
        why = f"another message has the key, and it is not known which: {problem}"
        driver = connection.address.driver
        return [type(problem)(why, driver=driver, queue=queue, outcome="rejected") for _ in messages]
    return [_other(connection, queue, stream, answer) for answer in answers]


def _other(connection: Connection, queue: str, stream: str, answer: Answer) -> Merged | DriverError | None:
    message = answer.get("message")
    if message is not None:
        head, _ = unpack(data_of(message), f"{stream}-{message['seq']}")
        return Merged("kept", head.id)
    error = answer.get("error")
    return None if is_message_missing(error) else refusal(error, driver=connection.address.driver, queue=queue)


def contested(message: Outgoing, *, driver: str, queue: str) -> DriverError:
    """The error of a message whose key was taken and given free so often that it never got it."""
    problem = f"message {message.id!r} was not stored: its key was taken {TRIES} times, and free again; publish again"
    return ThrottledError(problem, driver=driver, queue=queue)
