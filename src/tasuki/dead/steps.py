"""State transitions of a batch, and counts that survive the death of its process; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec.structs import replace

from tasuki.dead.batch import FIRST, KEPT, Batch, State
from tasuki.errors import BatchStateError

Order = Literal["pause", "resume", "cancel", "undo"]
ORDERS: tuple[Order, ...] = ("pause", "resume", "cancel", "undo")
_FOLLOWS: Mapping[Order, tuple[tuple[State, ...], State]] = {
    "pause": (("running",), "paused"),
    "resume": (("running", "paused", "stopped", "failed"), "running"),
    "cancel": (("running", "paused", "stopped", "failed"), "cancelled"),
    "undo": (("running", "paused", "cancelled", "stopped", "done", "failed", "undoing"), "undoing"),
}
_CANNOT = "it cannot be undone: "


def ordered(batch: Batch, order: Order, now: float) -> Batch:
    """The batch after an order; what its process counts stays as it is.

    One that its canary has stopped goes on without it. An undo that has failed, or whose process has died, goes on with
    an undo, and a batch that has begun to be brought back does nothing else any more.

    Raises:
        BatchStateError: its state does not allow it; says which one it has, and why.
    """
    states, follows = _FOLLOWS[order]
    is_undo_again = batch.is_back and order == "undo" and batch.state in ("failed", "undoing")
    if batch.is_back and not is_undo_again:
        raise BatchStateError(f"batch {batch.id} is {_text(batch.state)}: it is brought back, or was", batch=batch.id)
    if batch.state not in states:
        raise BatchStateError(f"batch {batch.id} is {_text(batch.state)}: to {order} it is no use", batch=batch.id)
    if order == "undo" and not batch.kept:
        raise BatchStateError(f"batch {batch.id}: {why_not_kept(batch)}", batch=batch.id)
    ended = now if follows == "cancelled" else None
    canary = None if order == "resume" and batch.state == "stopped" else batch.canary
    return replace(batch, state=follows, ended=ended, canary=canary, problem="")


def _text(state: State) -> str:
    return {"undoing": "being undone"}.get(state, state)


def why_not_kept(batch: Batch) -> str:
    """Why its letters cannot be brought back."""
    if not batch.atomic:
        return _CANNOT + "the driver of its queue has no transfer, which takes a waiting message back in one step"
    if batch.is_emptied or (batch.act == "delete" and batch.chunks and batch.moved <= KEPT):
        return _CANNOT + "the time of its letters in the trash is over"
    return _CANNOT + "it has more than 10,000 letters, or the queue that gets them is of another driver or node"


def taken(batch: Batch, runner: str) -> Batch:
    """The batch in the hands of a process. What another one was about to move counts as moved, in doubt."""
    lost = len(batch.pending)
    doubt = (*batch.doubt, *(id for id in batch.pending if id not in batch.doubt))
    counted = {"undone": batch.undone + lost} if batch.is_back else {"moved": batch.moved + lost}
    return replace(batch, runner=runner, pending=(), doubt=doubt, **counted)


def turned(batch: Batch, there: Iterable[str]) -> Batch:
    """The batch that begins to bring letters back; ``there``: those in doubt that are still in their queue."""
    still = again_of(batch, there)
    return replace(batch, moved=batch.moved - len(still), doubt=(), is_back=True)


def about(batch: Batch, ids: Sequence[str]) -> Batch:
    """The batch when it is about to move these letters. Those in doubt were not moved, as they are still there."""
    again = again_of(batch, ids)
    counted = {"undone": batch.undone - len(again)} if batch.is_back else {"moved": batch.moved - len(again)}
    doubt = tuple(id for id in batch.doubt if id not in again)
    first = batch.first
    if not batch.is_back and batch.act == "retry" and len(first) < FIRST:
        first = (*first, *(id for id in ids if id not in first))[:FIRST]
    return replace(batch, pending=tuple(ids), doubt=doubt, first=first, **counted)


def again_of(batch: Batch, ids: Iterable[str]) -> frozenset[str]:
    """The ids that are in doubt among these."""
    return frozenset(batch.doubt).intersection(ids)


def settled(batch: Batch, moved: int, gone: int, stayed: int) -> Batch:
    """The batch when the letters that it was about to move are, or are not."""
    counted = (
        {"undone": batch.undone + moved}
        if batch.is_back
        else {"moved": batch.moved + moved, "gone": batch.gone + gone, "stayed": batch.stayed + stayed}
    )
    return replace(batch, pending=(), **counted)


def merged(mine: Batch, stored: Batch) -> Batch:
    """What the process that drives it knows, with the orders that others have written meanwhile."""
    return replace(mine, state=stored.state, ended=stored.ended, canary=stored.canary, problem=stored.problem)


def finished(batch: Batch, now: float, there: Iterable[str] = ()) -> Batch:
    """The batch at the end of its letters. All of it is known now.

    ``there``: of one that is brought back, those in doubt that are in their queue again.
    """
    if batch.is_back:
        undone = batch.undone - len(batch.doubt) + len(again_of(batch, there))
        return replace(batch, state="undone", ended=now, undone=undone, doubt=(), problem="")
    problem = batch.problem if batch.stayed else ""
    missing = batch.ids - batch.moved - batch.stayed
    if not problem and missing > 0 and not batch.where and batch.limit is None:
        problem = f"{missing} of the {batch.ids} chosen letters were not in the queue any more"
    return replace(batch, state="done", ended=now, doubt=(), problem=problem)


def stopped(batch: Batch, now: float) -> Batch:
    """The batch that its canary stops."""
    text = f"{batch.returned_first} of the first {len(batch.first)} letters failed again, more than {batch.canary}"
    return replace(batch, state="stopped", ended=now, problem=text)


def failed(batch: Batch, problem: str, now: float) -> Batch:
    """The batch that cannot go on."""
    return replace(batch, state="failed", ended=now, problem=problem)


def is_alarmed(batch: Batch) -> bool:
    """Whether the canary stops it."""
    return batch.canary is not None and batch.returned_first > batch.canary


def is_watching(batch: Batch) -> bool:
    """Whether it has moved its first letters, and others are left that the canary could save."""
    if batch.canary is None or batch.act != "retry" or batch.is_back or len(batch.first) < FIRST:
        return False
    return batch.left is None or batch.left > 0


def most_now(batch: Batch, chunk: int) -> int:
    """Letters to move next at most: no more than a second lets pass, and first those that the canary watches."""
    most = chunk if not batch.rate or batch.is_back else max(1, min(chunk, int(batch.rate)))
    if batch.is_back:
        return most
    if batch.act == "retry" and batch.canary is not None and len(batch.first) < FIRST:
        most = min(most, FIRST - len(batch.first))
    return most


def may_take(batch: Batch, id: str, others: int) -> bool:
    """Whether the limit lets another letter go, beside so many others; those in doubt are counted already."""
    return batch.limit is None or id in batch.doubt or batch.moved + others < batch.limit


def is_due_to_be_emptied(batch: Batch) -> bool:
    """Whether letters that it has deleted may still be in the trash when their time is over."""
    if batch.act != "delete" or not batch.chunks or batch.is_emptied:
        return False
    return batch.ended is not None and batch.state != "undone"


def needs_ids(batch: Batch) -> bool:
    """Whether letters that were chosen one by one may still be moved."""
    return batch.state not in ("done", "cancelled") and not batch.is_back


def needs_notes(batch: Batch) -> bool:
    """Whether letters may still be brought back."""
    return batch.kept and batch.state != "undone"


def closed(batch: Batch) -> Batch:
    """The batch whose letters are about to leave the trash, unless an undo was faster."""
    return replace(batch, kept=False) if is_due_to_be_emptied(batch) else batch


def emptied(batch: Batch) -> Batch:
    """The batch whose letters are no longer in the trash."""
    return replace(batch, kept=False, is_emptied=True)
