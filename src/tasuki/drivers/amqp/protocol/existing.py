"""Existing: which queues and exchanges the broker has. It refuses to declare passively what is not there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pamqp import commands
from pamqp.base import Frame as Method

from tasuki.drivers.amqp.faults import NOT_FOUND, ClosedError
from tasuki.drivers.amqp.protocol.connection import Connection


def passively(queue: str) -> commands.Queue.Declare:
    """Ask for the counts of a queue."""
    return commands.Queue.Declare(queue=queue, passive=True)


async def up_to_missing(connection: Connection, declarations: Iterable[Method]) -> list[Any]:
    """The answers to passive declarations, made one after the other, before the first that is refused.

    Raises ClosedError or LateError.
    """
    answers: list[Any] = []
    try:
        async with connection.borrow() as channel:
            for declaration in declarations:
                answers += await channel.ask(declaration)
    except ClosedError as error:
        if error.code != NOT_FOUND:
            raise
    return answers


async def are_there(connection: Connection, *declarations: Method) -> bool:
    """Whether none of some passive declarations is refused. Raises ClosedError or LateError."""
    try:
        async with connection.borrow() as channel:
            await channel.ask(*declarations)
    except ClosedError as error:
        if error.code != NOT_FOUND:
            raise
        return False
    return True
