"""Bulk: an act on many dead letters, as a form asks for it, which begins a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from tasuki.app.batches import Batches
from tasuki.dead.batch import ACTS, CANARY, RATE, RIGHTS, Act, Batch
from tasuki.dead.steps import Order as Verb
from tasuki.desk.reading.rows import asked
from tasuki.errors import QueueNotFoundError
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.observe.redact import redact

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly

ACT_OF: dict[str, Act] = {RIGHTS[act]: act for act in ACTS}
"""Act of the desk, and its right → what its batch does."""
_LONGEST = 1000
VERBS: tuple[Verb, ...] = get_args(Verb)
"""What can be done to a batch."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """An act on many letters, with the fields as they were typed."""

    act: str
    queue: str
    """The id of the dead-letter queue."""
    by: str = "cause"
    group: str | None = None
    """The key of one group of ``by``; None: it does not matter."""
    where: str = ""
    ids: tuple[str, ...] = ()
    """Selected letters; empty: all that the filter holds for."""
    to: str = ""
    rate: str = f"{RATE:g}"
    fast: bool = False
    """As fast as possible: ``rate`` does not matter."""
    canary: str = str(CANARY)
    words: str = ""
    """What the letters of the group have in common; see :meth:`tasuki.desk.dead.library.Library.words_of`."""

    @property
    def rights(self) -> tuple[str, ...]:
        """What an actor may do on the queue who may order this: a filter that is counted tells what letters say."""
        return (self.act, "peek") if self.where or self.group is not None else (self.act,)

    @property
    def text(self) -> str:
        """Which letters are meant, for the log and the audit, without secrets."""
        if self.ids:
            return f"id:{','.join(self.ids)}"[:_LONGEST]
        key = f'"{self.words}"' if self.words and self.by == "cause" else self.group
        group = [] if self.group is None else [f"{self.by}:{key}"]
        return redact(" ".join([*group, *([self.where] if self.where else [])]))[:_LONGEST] or "all"

    @property
    def letters_a_second(self) -> float:
        """The rate, 0: as fast as possible. Raises ValueError."""
        if self.fast:
            return 0.0
        try:
            rate = float(self.rate)
        except ValueError:
            raise ValueError(f"a rate is a number of letters a second, not {self.rate[:40]!r}") from None
        if not 0 < rate <= 1_000_000:
            raise ValueError(f"a rate is above 0 letters a second, not {rate:g}")
        return rate

    @property
    def most_returned(self) -> int | None:
        """How many of the first letters may come back; None: it does not matter. Raises ValueError."""
        if not self.canary.strip():
            return None
        try:
            return int(self.canary)
        except ValueError:
            raise ValueError(
                f"the number of letters that may fail again is a whole one, not {self.canary[:40]!r}"
            ) from None


async def begin(live: Assembly, bulk: Bulk, actor: str) -> Batch:
    """Begin the batch; this process drives it.

    Raises:
        ValueError: a field is wrong. QueueNotFoundError: there is no such queue to move letters to.
        UnsupportedError: the dead-letter queue has no state. DriverError: a broker refuses.
    """
    rate, canary = bulk.letters_a_second, bulk.most_returned
    if bulk.to and bulk.to not in live.queues:
        raise QueueNotFoundError(f"there is no queue {bulk.to[:200]!r} in this project", queue=bulk.to)
    for id in (bulk.queue, *([bulk.to] if bulk.to else _sources(live, bulk.queue))):
        await _know(live, id)
    batches = Batches(lambda: live, actor=actor, is_permitted=True)
    group = None if bulk.group is None else (bulk.by, bulk.group)
    where, of = ("", None) if bulk.ids else (bulk.where, group)
    return await batches.begin(
        ACT_OF[bulk.act], bulk.queue, to=bulk.to or None, where=where, ids=bulk.ids, group=of, rate=rate,
        canary=canary, words=bulk.words,
    )  # fmt: skip


def _sources(live: Assembly, dead: str) -> list[str]:
    """The queues whose letters are in a dead-letter queue."""
    configs = live.project.of(QueueConfig)
    return [id for id, each in configs.items() if each.dead_letter is not None and each.dead_letter.queue == dead]


async def _know(live: Assembly, id: str) -> None:
    """Let the driver know a queue that a worker has made since it was opened; one that is not made yet is left out."""
    queue = live.queues[id]
    try:
        await asked(queue, lambda: queue.driver.occupancy(queue.spec.name))
    except QueueNotFoundError:
        return


async def change(live: Assembly, id: str, verb: Verb, actor: str) -> Batch:
    """Pause, resume, cancel or undo a batch. Raises BatchStateError, DriverError."""
    batches = Batches(lambda: live, actor=actor, is_permitted=True)
    if verb in ("resume", "undo"):
        batch = await batches.get(id)
        for queue in (batch.queue, *batch.targets):
            if queue in live.queues:
                await _know(live, queue)
    found: Batch = await getattr(batches, verb)(id)
    return found
