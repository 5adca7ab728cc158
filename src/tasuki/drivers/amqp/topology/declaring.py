"""Declaring: the queues of a queue, made at the broker, or only looked for."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from zlib import crc32

from pamqp import commands
from pamqp.base import Frame as Method

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.amqp.faults import NOT_FOUND, PRECONDITION_FAILED, ClosedError, Errors
from tasuki.drivers.amqp.limits import LONGEST_NAME, parts_of, whole_of
from tasuki.drivers.amqp.protocol.connection import Connection, are_there, passively, up_to_missing
from tasuki.drivers.amqp.publishing import delay_queues
from tasuki.drivers.amqp.topology.queue_arguments import (
    KINDS,
    Defaults,
    Kind,
    Lane,
    fitted_to,
    further_lanes,
    is_quorum,
    limited,
    other_lanes,
)
from tasuki.errors import QueueConflictError, UnsupportedError

NAME = "tasuki.lanes"
SHARES = 64
"""Into how many shares the names of queues are divided: where some queues have such lanes, few others look for them."""


def mark_names(queue: str, kind: Kind) -> tuple[str, str]:
    """The exchanges that say so of a queue, and of others; the same in every process."""
    everywhere = f"{NAME}.{kind}"
    return everywhere, f"{everywhere}.{crc32(queue.encode()) % SHARES}"


class Marks:
    """Exchanges that say which queues may have lanes of priorities or keys, beyond those that a process declares.

    A process that declares a queue without them finds the lanes that an earlier declaration has made, for they may hold
    messages. To look for a queue that is not there costs the broker a channel, and a line in its log. So a process that
    makes such lanes first makes two marks: one for all queues, and one for a share of all names. Where one of them is
    not there, no lanes are looked for.

    Exchanges, because one is declared once however often it is asked for, and costs the broker no process. Marks stay.
    """

    def __init__(self) -> None:
        self._present: set[str] = set()
        self._absent: set[str] = set()
        self._turns: dict[str, asyncio.Lock] = {}
        self._users = 0

    @contextmanager
    def remembered(self) -> Iterator[None]:
        """Ask for an absent mark once in all such blocks that overlap, as at the start of many queues."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._absent.clear()

    def make(self, queue: str, lanes: Sequence[Lane]) -> list[commands.Exchange.Declare]:
        """What makes the marks of a queue with these lanes; to be sent before the lanes are made."""
        names = [name for kind in further_lanes(queue, lanes) for name in mark_names(queue, kind)]
        self._present.update(names)
        return [commands.Exchange.Declare(exchange=name, exchange_type="fanout", durable=True) for name in names]

    async def has(self, connection: Connection, queue: str, kind: Kind) -> bool:
        """Whether a queue may have lanes of a kind. Raises ClosedError or LateError."""
        everywhere, share = mark_names(queue, kind)
        return await self._is_present(connection, everywhere) and await self._is_present(connection, share)

    async def _is_present(self, connection: Connection, name: str) -> bool:
        async with self._turns.setdefault(name, asyncio.Lock()):
            if name not in self._present and name not in self._absent:
                is_there = await are_there(connection, commands.Exchange.Declare(exchange=name, passive=True))
                (self._present if is_there else self._absent).add(name)
        return name in self._present


_LOST_AFTER = 1.0
"""Seconds after which a temporary queue that does not answer is taken for lost with its node."""


def check_spec(spec: QueueSpec, known: Container[str], errors: Errors) -> None:
    """Refuse what RabbitMQ cannot keep, and a name that is like a part of a known queue. Raises DriverError."""
    if len(spec.name.encode()) > LONGEST_NAME:
        problem = f"its name is too long for RabbitMQ, with the suffixes of its lanes; use at most {LONGEST_NAME} bytes"
        raise errors.make(UnsupportedError, spec.name[:80], problem)
    part = next((name for name in parts_of(spec.name) if name in known), None)
    if part is not None or whole_of(spec.name) in known:
        part = part or spec.name
        problem = f"{part!r} is the name of a part of the queue {whole_of(part)!r}; give one of them another name"
        raise errors.make(QueueConflictError, spec.name, problem)
    asked = {
        "max_length": spec.max_length is not None,
        "ordering: key in a classic queue": spec.ordering == "key" and not is_quorum(spec),
        "dedup_window": spec.dedup_window is not None,
    }
    for name in [name for name, is_asked in asked.items() if is_asked]:
        problem = f"RabbitMQ cannot keep {name}; take another driver for it, or leave it out"
        raise errors.make(UnsupportedError, spec.name, problem)


async def declare(connection: Connection, errors: Errors, marks: Marks, spec: QueueSpec, found: Sequence[Lane]) -> None:
    """Make the queues, as far as they are not there. Raises DriverError, ClosedError or LateError."""
    try:
        await _declare(connection, marks, spec, found)
    except ClosedError as error:
        if error.code != PRECONDITION_FAILED:
            raise
        if (fitted := fitted_to(found, error.text)) is not None:
            await declare(connection, errors, marks, spec, fitted)
            return
        wanted = "; ".join(f"{lane.name} with {lane.shown()}" for lane in found)
        problem = (
            f"it exists with other arguments: {error.text}. Wanted is {wanted}. "
            "Arguments of a queue cannot be changed: declare it as it is, or empty and delete it at the broker"
        )
        raise errors.make(QueueConflictError, spec.name, problem) from error


async def declare_again(
    connection: Connection, errors: Errors, marks: Marks, spec: QueueSpec, found: Sequence[Lane], *, has_nodes: bool
) -> None:
    """Declare a queue after a reconnect, to one of several nodes or not. Raises DriverError, ClosedError or LateError.

    A classic queue lives on one node. If that is lost, the broker answers nothing about it, and all would wait. While
    a node of a cluster is frozen, the broker answers no change of bindings: nothing is declared that is there.
    """
    if spec.temporary:
        await _remake(connection, errors, marks, spec, found)
    elif (is_quorum(spec) or not has_nodes) and not await are_there(
        connection, *(passively(lane.name) for lane in found)
    ):
        await declare(connection, errors, marks, spec, found)


async def _declare(connection: Connection, marks: Marks, spec: QueueSpec, found: Sequence[Lane]) -> None:
    makes: list[Method] = [*marks.make(spec.name, found), *(lane.declare() for lane in found)]
    if spec.temporary:  # its messages are rarely delayed, and a requester's queue must be cheap to make
        await _ask(connection, makes)
        return
    back = next((lane for lane in found if lane.is_returned), found[0])
    # Bound with each declaration: a queue that was deleted and made again has lost its binding.
    methods = [*makes, delay_queues.target_binding(back.name)]
    try:
        await _ask(connection, methods)
    except ClosedError as error:
        if error.code != NOT_FOUND:
            raise
        await _ask(connection, [*delay_queues.last_exchange(), *methods])  # the first declaration at this broker


async def _remake(connection: Connection, errors: Errors, marks: Marks, spec: QueueSpec, found: Sequence[Lane]) -> None:
    """Declare a temporary queue of ours after a reconnect. Raises DriverError, ClosedError or LateError.

    It is a classic queue, on the node where it was made. If that node is lost, RabbitMQ answers a declaration after a
    minute or never, but a deletion at once.
    """
    try:
        async with connection.borrow() as channel, asyncio.timeout(_LOST_AFTER):
            await channel.ask(*(passively(lane.name) for lane in found))
    except ClosedError:
        pass  # it was deleted
    except TimeoutError:
        await _ask(connection, [commands.Queue.Delete(queue=lane.name) for lane in found])
    await declare(connection, errors, marks, spec, found)


def together(found: Sequence[Lane], others: Sequence[Lane]) -> list[Lane]:
    """The lanes, and after them the others with other names."""
    known = {lane.name: lane for lane in found}
    for lane in others:
        known.setdefault(lane.name, lane)
    return list(known.values())


async def existing(connection: Connection, found: Sequence[Lane]) -> list[Lane]:
    """The queues that the broker has; none if the first of them is not there. Raises ClosedError or LateError."""
    number = await _found_at_once(connection, found)
    if number in {0, len(found)}:
        return list(found[:number])
    return [found[0], *[lane for lane in found[1:] if await are_there(connection, passively(lane.name))]]


async def _found_at_once(connection: Connection, found: Sequence[Lane]) -> int:
    """How many of the queues there are before the first that is not there: the broker ends the channel at that one."""
    async with connection.borrow() as channel:
        asked = [asyncio.ensure_future(channel.ask(passively(lane.name))) for lane in found]
        await asyncio.wait(asked)
    refused = [number for number, answer in enumerate(asked) if answer.exception() is not None]
    if not refused:
        return len(found)
    error = asked[refused[0]].exception()
    if not isinstance(error, ClosedError) or error.code != NOT_FOUND:
        asked[refused[0]].result()
    return refused[0]


async def left_over(connection: Connection, marks: Marks, spec: QueueSpec, defaults: Defaults) -> list[Lane]:
    """The queues that a declaration with other options has made, here or elsewhere: they may hold messages.

    Raises ClosedError or LateError.
    """
    if not is_quorum(spec):
        return []
    there: list[Lane] = []
    for kind in KINDS:
        if await marks.has(connection, spec.name, kind):
            others = further_lanes(spec.name, other_lanes(spec, defaults)).get(kind, ())
            answers = await up_to_missing(connection, (passively(lane.name) for lane in others))
            there += others[: len(answers)]  # they are made in their order
    return limited(there, spec)


async def _ask(connection: Connection, methods: Sequence[Method]) -> None:
    """On a borrowed channel: a refusal ends it."""
    async with connection.borrow() as channel:
        await channel.ask(*methods)
