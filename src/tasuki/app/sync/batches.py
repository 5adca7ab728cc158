"""The verbs of batches for code without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tasuki.dead.rules.batch import CANARY, RATE, Act, Batch

if TYPE_CHECKING:
    from tasuki.app.batches import Batches
    from tasuki.app.handle import QueueHandle

T = TypeVar("T")


class SyncBatches:
    """``app.sync.batches``: as :class:`tasuki.app.batches.Batches`; each verb blocks until it is done.

    The thread of ``app.sync`` drives a batch as long as the app is open there.
    """

    def __init__(self, batches: Batches, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._batches, self._run = batches, run

    def begin(
        self,
        act: Act,
        queue: str | QueueHandle[Any],
        *,
        to: str | QueueHandle[Any] | None = None,
        where: str = "",
        ids: Collection[str] = (),
        group: tuple[str, str] | None = None,
        rate: float = RATE,
        canary: int | None = CANARY,
        limit: int | None = None,
        drive: bool = True,
        words: str = "",
    ) -> Batch:
        """See :meth:`tasuki.app.batches.Batches.begin`."""
        begun: Batch = self._run(
            self._batches.begin(act, queue, to=to, where=where, ids=ids, group=group, rate=rate, canary=canary,
                                limit=limit, drive=drive, words=words)
        )  # fmt: skip
        return begun

    def get(self, id: str) -> Batch:
        """See :meth:`tasuki.app.batches.Batches.get`."""
        return self._one(self._batches.get(id))

    def wait(self, id: str, progress: Callable[[Batch], None] | None = None) -> Batch:
        """See :meth:`tasuki.app.batches.Batches.wait`; ``progress`` is called in the app's thread."""
        return self._one(self._batches.wait(id, progress))

    def pause(self, id: str) -> Batch:
        """See :meth:`tasuki.app.batches.Batches.pause`."""
        return self._one(self._batches.pause(id))

    def resume(self, id: str, *, drive: bool = True) -> Batch:
        """See :meth:`tasuki.app.batches.Batches.resume`."""
        return self._one(self._batches.resume(id, drive=drive))

    def cancel(self, id: str) -> Batch:
        """See :meth:`tasuki.app.batches.Batches.cancel`."""
        return self._one(self._batches.cancel(id))

    def undo(self, id: str, *, drive: bool = True) -> Batch:
        """See :meth:`tasuki.app.batches.Batches.undo`."""
        return self._one(self._batches.undo(id, drive=drive))

    def list(self) -> Sequence[Batch]:
        """See :meth:`tasuki.app.batches.Batches.list`."""
        found: Sequence[Batch] = self._run(self._batches.list())
        return found

    def _one(self, work: Coroutine[Any, Any, Batch]) -> Batch:
        batch: Batch = self._run(work)
        return batch
