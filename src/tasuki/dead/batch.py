"""Batch: an act on many dead letters, as its record in a store; no I/O."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Act = Literal["retry", "move", "delete"]
State = Literal["running", "paused", "cancelled", "stopped", "done", "undoing", "undone", "failed"]
ACTS: tuple[Act, ...] = ("retry", "move", "delete")
RIGHTS = {"retry": "redrive", "move": "move", "delete": "remove"}
"""Act → its right, after ``queue.admin.``; an order for a batch is the right ``batch``."""
DRIVEN: tuple[State, ...] = ("running", "undoing")
"""The states in which a process works on it."""
RATE = 100.0
"""Letters a second, unless another rate is chosen."""
CANARY = 10
"""Of the first letters of a retry so many may come back, unless another number is chosen."""
FIRST = 50
"""Letters of a retry that its canary watches."""
KEPT = 10_000
"""Most letters that can be brought back."""
MOST_IDS = 10_000
"""Most letters that are chosen one by one."""
TRASH = ".trash"
"""What the name of the queue of deleted letters ends with."""
TRASH_TIME = 900.0
"""Seconds after which a deleted letter is gone."""


class Batch(msgspec.Struct, frozen=True, omit_defaults=True):
    """An act on some letters, and how far it is; times are Unix times of the store."""

    id: str
    act: Act
    queue: str
    """The id of the dead-letter queue."""
    name: str
    """Its name at the broker."""
    begun: float
    actor: str
    where: str = ""
    group: tuple[str, str] | None = None
    """What the letters are grouped by, and the key of their group; None: it does not matter."""
    words: str = ""
    """What the letters of the group have in common, for people; empty: only the key is known."""
    ids: int = 0
    """How many letters were chosen by their ids; 0: they were not."""
    to: str = ""
    """The id of the queue that gets them; empty: the queue that each came from."""
    rate: float = RATE
    """Letters a second; 0: as fast as possible."""
    canary: int | None = CANARY
    """It stops if more than so many of the first ``FIRST`` letters come back; None: it does not."""
    limit: int | None = None
    is_permitted: bool = False
    """Whether someone else than the application acts, and has the rights."""
    masks: bool = False
    """Whether ``where`` compares secrets as their mask: who began it may not know them."""
    atomic: bool = False
    """Whether letters are moved in one step, so that a kill leaves none of them twice."""
    total: int | None = None
    """Letters that are to be moved; None: unknown, as there are too many to ask each."""
    there: int | None = None
    """Letters that were in the queue; None: unknown."""
    among: int | None = None
    """Letters of its one cause among these, where the driver can show them alone; None: it looks at all."""
    state: State = "running"
    runner: str = ""
    """Who drives it, or did last."""
    moved: int = 0
    pending: tuple[str, ...] = ()
    """The ids of letters that are being moved now."""
    doubt: tuple[str, ...] = ()
    """Letters counted as moved whose process died meanwhile: those that are still there are counted again."""
    chunks: int = 0
    """Notes for the way back that were written."""
    kept: bool = True
    """Whether its letters can be brought back."""
    seen: int = 0
    """Letters that were looked at, and not moved."""
    stayed: int = 0
    """Chosen letters that no queue takes."""
    gone: int = 0
    """Chosen letters that another process took first."""
    unclear: int = 0
    """Letters that the question could not be asked about."""
    first: tuple[str, ...] = ()
    """The letters that the canary watches."""
    returned: int = 0
    """Letters that failed again."""
    returned_first: int = 0
    targets: tuple[str, ...] = ()
    """Ids of the queues that got letters."""
    is_back: bool = False
    """Whether letters have begun to be brought back."""
    undone: int = 0
    is_emptied: bool = False
    """Whether its letters are no longer in the trash."""
    ended: float | None = None
    problem: str = ""
    """Why it stopped, failed, waits, or left letters."""

    @property
    def done(self) -> int:
        """Letters that have been moved."""
        return self.moved

    @property
    def unsure(self) -> int:
        """Letters of which it is not known yet whether they were moved, as the process that moved them has died."""
        return len(self.pending) + len(self.doubt)

    @property
    def left(self) -> int | None:
        """Letters that are still to be moved; None: unknown."""
        if self.state == "done" or self.is_back:
            return 0
        return None if self.total is None else max(self.total - self.moved - self.stayed - self.gone, 0)

    @property
    def is_driven(self) -> bool:
        """Whether a process works on it, or is to."""
        return self.state in DRIVEN

    @property
    def can_undo(self) -> bool:
        """Whether letters of it can be brought back, if they still wait where they are."""
        return self.kept and self.moved + self.unsure > 0 and self.state not in ("undoing", "undone")

    @property
    def started(self) -> int:
        """After an undo: letters that were not there any more."""
        return max(self.moved - self.undone, 0) if self.is_back else 0

    def as_dict(self) -> dict[str, Any]:
        """Its facts as plain data."""
        names = (
            "id", "act", "queue", "to", "where", "ids", "rate", "canary", "limit", "actor", "state", "begun", "ended",
            "total", "there", "done", "returned", "left", "seen", "stayed", "gone", "unclear", "unsure", "undone",
            "started", "can_undo", "problem",
        )  # fmt: skip
        group = None if self.group is None else {"by": self.group[0], "key": self.group[1], "words": self.words}
        return {**{name: getattr(self, name) for name in names}, "group": group}


_encoder, _decoder = msgspec.json.Encoder(), msgspec.json.Decoder(Batch)


def encode(batch: Batch) -> bytes:
    """The value in a store."""
    return _encoder.encode(batch)


def decode(value: bytes) -> Batch | None:
    """The batch of a value; None: another version wrote it in a way that this one cannot read."""
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
