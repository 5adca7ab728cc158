"""Read the letters of dead-letter queues, without taking them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from tasuki.app.assembly import Assembly
from tasuki.app.dead.borrowing import borrow
from tasuki.app.dead.choice import Choice
from tasuki.app.dead.ending import end_of
from tasuki.clock import Clock
from tasuki.errors import DriverError, PolicyDeniedError, QueueNotFoundError, UnsupportedError
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.queues.dead.groups import DeadGroup, grouped
from tasuki.queues.dead.letter import Letter, letter_in
from tasuki.queues.queue import Queue
from tasuki.workbench.batches.ways.walk import FIRST, fitting

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
    """False: a queue has more letters, of which the newest were read: 10,000, or fewer with 256 MiB of bodies."""
    unclear: int
    """Letters that ``where`` could not be asked about, as their values are of other types; they are in no group."""
    problem: str
    """Why one of these could not be judged."""
    unseen: dict[str, str]
    """Dead-letter queues whose letters could not be shown, and for each why, and what works there."""
    borrowed: dict[str, int] = field(default_factory=dict)
    """Dead-letter queues whose brokers cannot show messages, and how many letters were received there and released."""


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
        f"queue {queue!r} has no dead-letter queue, and is none: its messages are retried for ever, see its option "
        "dead_letter",
        queue=queue,
    )


async def read(
    assembly: Assembly, queues: dict[str, str], choice: Choice, by: str, clock: Clock, *, borrows: bool = True
) -> DeadLetters:
    """The chosen letters of these queues (see :func:`sources_of`); a queue that does not exist yet has none.

    Where the broker cannot show messages, the first letters are borrowed: see :mod:`tasuki.app.dead.borrowing`.
    ``borrows`` False: they are not, and the queue is among the ``unseen``.

    Raises:
        UnsupportedError: ``borrows`` is False, and no broker of these queues can show messages.
        ValueError: ``by`` is no such thing. PolicyDeniedError: the application may not look into a queue.
        DriverError: a broker refuses; HeldBackError: another reader borrows from it. One that cannot show messages
            is then among the ``unseen``, unless it is the only one.
    """
    found: list[Letter] = []
    is_all, now = True, clock.time()
    borrowed: dict[str, int] = {}
    mute = [id for id in queues if not borrows and not assembly.queues[id].driver.capabilities.peek]
    if mute and len(mute) == len(queues):
        raise UnsupportedError(_remedy(mute[0], _MUTE), driver=assembly.queues[mute[0]].driver.name, queue=mute[0])
    unseen = {id: _remedy(id, _MUTE) for id in mute}
    for dead, origin in queues.items():
        source = assembly.queues[dead]
        if dead in unseen:
            continue
        try:
            if source.driver.capabilities.peek:
                letters, has_more = await _newest(source)
            else:
                some = await borrow(assembly, source, NEWEST, clock=clock, guard=assembly.rights.application)
                letters, has_more = [letter_in(message, dead) for message in some.letters], not some.is_all
                borrowed[dead] = len(letters)
        except QueueNotFoundError:
            continue
        except (DriverError, PolicyDeniedError) as error:
            if len(queues) == 1 or source.driver.capabilities.peek:
                raise
            unseen[dead] = _remedy(dead, error)
            continue
        is_all = is_all and not has_more
        mine = (letter for letter in letters if not origin or letter.queue == origin)
        found += [letter for letter in mine if choice.chosen(letter, source, now)]
    return DeadLetters(found, grouped(found, by), is_all, choice.unclear, choice.problem, unseen, borrowed)


_MUTE = "its broker cannot show messages without giving them to a consumer"


def _remedy(id: str, error: object) -> str:
    return f"{str(error).rstrip('.')}; tasuki redrive {id} sends letters back, also chosen ones (--where, --id)"


async def _newest(source: Queue) -> tuple[list[Letter], bool]:
    """The newest letters, the oldest of them first, and whether there are more."""
    depth = await source.depth()
    total = depth.ready + depth.delayed
    if depth.is_estimate:  # else the newest would be missed, or nothing be seen at all
        total = await end_of(source.peek, total)
    most, end, lowest = source.driver.capabilities.max_batch, total, max(total - NEWEST, 0)
    size, weight, found = min(FIRST, most), 0, dict[str, Letter]()
    while end > lowest and weight < MOST_BYTES:  # backwards: where letters are large, the newest are read
        start = max(end - size, lowest)
        page = await source.peek(end - start, start)
        for message in reversed(page):
            # A letter that is taken meanwhile shifts those behind it, so that one may be seen twice.
            found.setdefault(message.id, letter_in(message, source.id))
        weight += sum(len(message.body) for message in page)
        end, size = start, min(most, 4 * size, fitting(page))
    return [*reversed(found.values())], end > 0


@dataclass(frozen=True, slots=True)
class Movable:
    """What a redrive would move."""

    count: int
    is_all: bool
    """False: there are more letters, and only the newest were asked."""
    unclear: int
    """Letters that could not be judged, and would stay."""
    problem: str


async def movable(
    assembly: Assembly, source: Queue, targets: Collection[str], choice: Choice, limit: int | None, clock: Clock
) -> Movable:
    """The letters that a redrive would move: chosen ones that come from one of these queues; none: from any.

    Raises: as ``read``.
    """
    found = await read(assembly, {source.id: ""}, choice, "cause", clock)
    count = sum(not targets or letter.queue in targets for letter in found.letters)
    if limit is not None and count >= limit:
        return Movable(limit, True, found.unclear, found.problem)
    return Movable(count, found.is_all, found.unclear, found.problem)
