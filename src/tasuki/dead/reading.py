"""Read the letters of dead-letter queues without taking them, and the failed attempts of a message."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from tasuki.clock import Clock
from tasuki.contracts.driver import Causes, Depth, place_of
from tasuki.dead.counting import Peek, causes_of, count_of_cause, end_of, groups_of, rest_of, texts_in
from tasuki.dead.host import Host
from tasuki.dead.peek_by_receive import borrow
from tasuki.dead.selection import Choice
from tasuki.dead.walk import Backwards
from tasuki.errors import DriverError, PolicyDeniedError, QueueNotFoundError, UnsupportedError
from tasuki.flow.attempts import read_attempts
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.message import ATTEMPT_RECORDS, DEAD_LETTER_REASON, Message, cause_in
from tasuki.queues.dead.attempts import AttemptRecord, records_in
from tasuki.queues.dead.groups import DeadGroup, grouped, merged
from tasuki.queues.dead.letter import Letter, letter_in
from tasuki.queues.queue import Queue

NEWEST = 10_000
"""Letters of a queue that are read at most: the newest ones."""

MOST_BYTES = 256 * 2**20
"""Bodies of a queue that are read, roughly: where letters are large, these are fewer."""


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Dead letters and their groups."""

    letters: list[Letter]
    groups: list[DeadGroup]
    is_all: bool
    """False: a queue has more letters than ``groups`` count, of which the newest were read: 10,000, or 256 MiB."""
    unclear: int
    """Letters that ``where`` could not be asked about, as their values are of other types; they are in no group."""
    problem: str
    """Why one of these could not be judged."""
    unseen: dict[str, str]
    """Dead-letter queues whose letters could not be shown, and for each why, and what works there."""
    borrowed: dict[str, int] = field(default_factory=dict)
    """Dead-letter queues whose brokers cannot show messages, and how many letters were received there and released."""
    held: dict[str, int] = field(default_factory=dict)
    """Dead-letter queues of which a consumer, such as a redrive, holds letters now: this many, which are not shown."""

    @property
    def count(self) -> int:
        """Letters in all groups; more than ``letters`` where a driver counts them without showing all."""
        return sum(group.count for group in self.groups)


def sources_of(project: Project, queue: str = "") -> dict[str, str]:
    """Each dead-letter queue to be read, and the one queue whose letters are meant; empty: the letters of all.

    ``queue``: the id of a dead-letter queue, of a queue that has one, or empty for all of the project.

    Raises:
        QueueNotFoundError: the queue has none, and is none.
    """
    configs = project.of(QueueConfig)
    dead = {id: config.dead_letter.queue for id, config in configs.items() if config.dead_letter is not None}
    if not queue:
        return dict.fromkeys(dead.values(), "")
    if queue in dead.values():
        return {queue: ""}
    if queue in dead:
        return {dead[queue]: queue}
    raise QueueNotFoundError(
        f"queue {queue!r} has no dead-letter queue, and is none: its messages are retried forever, see its option "
        "dead_letter",
        queue=queue,
    )


async def read(
    host: Host,
    queues: dict[str, str],
    choice: Choice,
    by: str,
    clock: Clock,
    *,
    borrows: bool = True,
    shows: bool = True,
) -> DeadLetters:
    """The chosen letters of these queues (see :func:`sources_of`); a queue that does not exist yet has none.

    Groups of all letters by cause are exact where the driver keeps an index of causes, and letters of one cause are
    read by it. Where the broker cannot show messages, the first letters are borrowed: see
    :mod:`tasuki.dead.peek_by_receive`. ``borrows`` False: they are not, and the queue is among the ``unseen``.
    ``shows`` False: letters that can be counted need not be read.

    Raises:
        UnsupportedError: ``borrows`` is False, and no broker of these queues can show messages.
        ValueError: ``by`` is no such thing. PolicyDeniedError: the application may not look into a queue.
        DriverError: a broker refuses; HeldBackError: another reader borrows from it. One that cannot show messages
            is then among the ``unseen``, unless it is the only one.
    """
    mute = [id for id in queues if not borrows and not host.queues[id].driver.capabilities.has("peek")]
    if mute and len(mute) == len(queues):
        raise UnsupportedError(_remedy(mute[0], _MUTE), driver=host.queues[mute[0]].driver.name, queue=mute[0])
    reading = _Reading(host, choice, by, clock, shows=shows)
    reading.unseen = {id: _remedy(id, _MUTE) for id in mute}
    for dead, origin in queues.items():
        if dead in reading.unseen:
            continue
        source = host.queues[dead]
        try:
            await reading.read(source, origin)
        except QueueNotFoundError:
            continue
        except (DriverError, PolicyDeniedError) as error:
            if len(queues) == 1 or source.driver.capabilities.has("peek"):
                raise
            reading.unseen[dead] = _remedy(dead, error)
    return reading.found()


class _Reading:
    """Reads one queue after the other."""

    def __init__(self, host: Host, choice: Choice, by: str, clock: Clock, *, shows: bool) -> None:
        self._host, self._choice, self._by, self._clock, self._shows = host, choice, by, clock, shows
        self._now = clock.time()
        self._letters: list[Letter] = []
        self._uncounted: list[Letter] = []
        """The ones that no driver has counted."""
        self._groups: list[DeadGroup] = []
        self._rest: list[DeadGroup] = []
        self._is_all = True
        self._borrowed: dict[str, int] = {}
        self._held: dict[str, int] = {}
        self.unseen: dict[str, str] = {}

    async def read(self, source: Queue, origin: str) -> None:
        """Read the letters of a queue; of those that come from ``origin``, unless that is empty."""
        depth = await source.depth() if source.driver.capabilities.has("peek") else None
        if depth is not None and depth.in_flight:
            self._held[source.id] = depth.in_flight
        causes: Causes | None = None
        if self._by == "cause" and not self._choice and not origin:
            causes = await causes_of(source)
        if causes is not None and not self._shows and not causes.unmarked:
            await self._count(source, causes)
            return
        letters, has_more = await self._some(source, depth)
        mine = [letter for letter in letters if not origin or letter.queue == origin]
        chosen = [letter for letter in mine if self._choice.takes(letter, source, self._now)]
        self._letters += chosen
        bare = [letter for letter in chosen if not cause_in(letter.message.headers)]
        if causes is not None and causes.marked + len(bare) >= len(chosen):
            await self._count(source, causes)
            self._uncounted += bare
            has_more = has_more and len(bare) < causes.unmarked
        else:  # there is no index, or an older version stored letters that are not in it though they say their cause
            self._uncounted += chosen
        self._is_all = self._is_all and not has_more

    async def _count(self, source: Queue, causes: Causes) -> None:
        async def peek(cause: str, most: int) -> Sequence[Message]:
            return await source.peek_cause(cause, most, newest_first=True)

        self._groups += groups_of(causes, source.id, await texts_in(causes, peek))
        self._rest += rest_of(causes)

    async def _some(self, source: Queue, depth: Depth | None) -> tuple[list[Letter], bool]:
        """Letters of a queue, and whether there are more; ``depth``: None if its broker cannot show messages."""
        if depth is not None:
            return await _newest(source, depth, self._choice.cause)
        some = await borrow(self._host, source, NEWEST, clock=self._clock, guard=self._host.rights.application)
        self._borrowed[source.id] = len(some.letters)
        return [letter_in(message, source.id) for message in some.letters], not some.is_all

    def found(self) -> DeadLetters:
        """All that was read. Raises ValueError: letters are not grouped by this."""
        groups = merged([*self._groups, *grouped(self._uncounted, self._by, sys.maxsize)], self._rest)
        choice = self._choice
        return DeadLetters(
            self._letters, groups, self._is_all, choice.unclear, choice.problem, self.unseen, self._borrowed, self._held
        )


_MUTE = "its broker cannot show messages without giving them to a consumer"


def _remedy(id: str, error: object) -> str:
    return f"{str(error).rstrip('.')}; tasuki redrive {id} sends letters back, also chosen ones (--where, --id)"


async def _newest(source: Queue, depth: Depth, cause: str) -> tuple[list[Letter], bool]:
    """The newest letters, or the newest of one cause, the oldest of them first, and whether there are more."""
    source.check_may_peek()
    total = await count_of_cause(source.driver, source.spec.name, cause)
    if total is not None:
        peek: Peek = partial(source.peek_cause, cause)
    else:
        peek = source.peek
        total = depth.waiting
        if depth.is_estimate:  # else the newest would be missed, or nothing be seen at all
            total = await end_of(peek, total)
    pages = Backwards(peek, total, max(total - NEWEST, 0), source.driver.capabilities.max_batch)
    found = dict[tuple[str, str], Letter]()
    while not pages.is_over and pages.weight < MOST_BYTES:
        for message in reversed(await pages.page()):
            found.setdefault((message.id, place_of(message)), letter_in(message, source.id))
    return [*reversed(found.values())], pages.start > 0


async def attempts_of(live: Host, queue: Queue, id: str) -> list[AttemptRecord]:
    """The last failed attempts of a message of this queue, oldest first.

    Raises:
        UnsupportedError: the queue has no store. PolicyDeniedError: who asks may not look into it. DriverError: the
            store cannot be read.
    """
    queue.check_may_peek()
    state = live.state_of(queue.id)
    if state is None:
        text = (
            f"queue {queue.id!r} keeps no records of failed attempts, as it has no state: write "
            "'state: <id of a store>' at the queue"
        )
        raise UnsupportedError(text, driver=queue.driver.name, queue=queue.id)
    return await read_attempts(await state.store(), queue.spec.name, id)


async def attempts_shown(live: Host, queue: Queue, message: Message) -> list[AttemptRecord]:
    """The same of a message that was found in a queue; a dead letter carries its own. Empty: none is known.

    Raises:
        DriverError: the store cannot be read.
    """
    if ATTEMPT_RECORDS in message.headers:
        return records_in(message)
    state = live.state_of(queue.id)
    if state is None or DEAD_LETTER_REASON in message.headers:
        return []
    return await read_attempts(await state.store(), queue.spec.name, message.id)
