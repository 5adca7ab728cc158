"""The verbs of an app that block until they are done; each is the one of the same name with ``await``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from tasuki.app.handle import QueueHandle, id_of
from tasuki.contracts.state.store_handle import SyncStoreHandle
from tasuki.units import Duration

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.app.app import App
    from tasuki.app.dry_run.report import DryRun
    from tasuki.app.edit_and_dry_run import Changes
    from tasuki.app.explain.rule import Explanation
    from tasuki.app.history.verbs import Passed
    from tasuki.app.schedules.status import ScheduleStatus
    from tasuki.app.state.jobs import Job, SyncJob
    from tasuki.app.sync.batches import SyncBatches
    from tasuki.contracts.driver import Depth
    from tasuki.contracts.state.following import Follower, Later, StartedGroup
    from tasuki.contracts.state.jobs import Cancellation, CancelOutcome
    from tasuki.dead.editing.edit import Edited
    from tasuki.dead.reading import DeadLetters
    from tasuki.message import Message
    from tasuki.queues.dead.attempts import AttemptRecord
    from tasuki.state.pauses import Pause, Scale
    from tasuki.state.worker_record import Presence

T = TypeVar("T")


class RedriveOptions(TypedDict, total=False):
    """Options of ``redrive``."""

    to: str | QueueHandle[Any] | None
    limit: int | None
    progress: Callable[[int], None] | None
    where: str
    ids: Collection[str]
    rate: float | None
    dry_run: bool


class SyncVerbs:
    """All but those that publish."""

    _app: App

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the app's loop, with the app open, and wait for its result."""
        raise NotImplementedError

    def info(self, queue: str | QueueHandle[Any]) -> dict[str, Any]:
        """See :meth:`tasuki.queues.queue.Queue.info`."""
        return self.run(QueueHandle[Any](self._app, id_of(queue)).info())

    def depth(self, queue: str | QueueHandle[Any]) -> Depth:
        """See :meth:`tasuki.queues.queue.Queue.depth`."""
        return self.run(QueueHandle[Any](self._app, id_of(queue)).depth())

    def peek(self, queue: str | QueueHandle[Any], limit: int = 10, after: int = 0) -> list[Message]:
        """See :meth:`tasuki.queues.queue.Queue.peek`."""
        return self.run(QueueHandle[Any](self._app, id_of(queue)).peek(limit, after))

    def purge(self, queue: str | QueueHandle[Any]) -> int:
        """See :meth:`tasuki.queues.queue.Queue.purge`."""
        return self.run(QueueHandle[Any](self._app, id_of(queue)).purge())

    def remove(self, queue: str | QueueHandle[Any], ids: Collection[str]) -> int:
        """See :meth:`tasuki.queues.queue.Queue.remove`."""
        return self.run(QueueHandle[Any](self._app, id_of(queue)).remove(ids))

    def history(self, queue: str | QueueHandle[Any]) -> list[Passed]:
        """See :meth:`tasuki.App.history`."""
        return self.run(self._app.history(queue))

    def schedules(self) -> list[ScheduleStatus]:
        """See :meth:`tasuki.App.schedules`."""
        return self.run(self._app.schedules())

    def run_now(self, schedule: str) -> str:
        """See :meth:`tasuki.App.run_now`."""
        return self.run(self._app.run_now(schedule))

    def workers(self) -> list[Presence]:
        """See :meth:`tasuki.App.workers`."""
        return self.run(self._app.workers())

    def job(self, id: str, *, queue: str | QueueHandle[Any]) -> SyncJob[Any]:
        """See :meth:`tasuki.App.job`."""
        from tasuki.app.state.jobs import sync_job

        async def find() -> Job[Any]:
            return self._app.job(id, queue=queue)

        return sync_job(self.run(find()))

    def explain(self, queue: str | QueueHandle[Any] | None, id: str) -> Explanation:
        """See :meth:`tasuki.App.explain`."""
        return self.run(self._app.explain(queue, id))

    def attempts(self, queue: str | QueueHandle[Any], id: str) -> list[AttemptRecord]:
        """See :meth:`tasuki.App.attempts`."""
        return self.run(self._app.attempts(queue, id))

    def dead_letters(self, queue: str | QueueHandle[Any] = "", *, by: str = "cause", where: str = "") -> DeadLetters:
        """See :meth:`tasuki.App.dead_letters`."""
        return self.run(self._app.dead_letters(queue, by=by, where=where))

    def redrive(self, dead_letters: str | QueueHandle[Any], **options: Unpack[RedriveOptions]) -> int:
        """See :meth:`tasuki.App.redrive`; ``progress`` is called in the thread of the app's loop."""
        return self.run(self._app.redrive(dead_letters, **options))

    def undo_edit(self, dead_letters: str | QueueHandle[Any], id: str, *, actor: str | None = None) -> str:
        """See :meth:`tasuki.App.undo_edit`."""
        return self.run(self._app.undo_edit(dead_letters, id, actor=actor))

    def edit(self, dead_letters: str | QueueHandle[Any], id: str, **changes: Unpack[Changes]) -> Edited:
        """See :meth:`tasuki.App.edit`."""
        return self.run(self._app.edit(dead_letters, id, **changes))

    def dry_run(
        self, queue: str | QueueHandle[Any], id: str, *, limit: Duration = 30.0, actor: str | None = None
    ) -> DryRun:
        """See :meth:`tasuki.App.dry_run`."""
        return self.run(self._app.dry_run(queue, id, limit=limit, actor=actor))

    def cancel(self, id: str, *, queue: str | QueueHandle[Any] | None = None) -> CancelOutcome:
        """See :meth:`tasuki.App.cancel`."""
        return self.run(self._app.cancel(id, queue=queue))

    def cancel_many(self, ids: Iterable[str], *, queue: str | QueueHandle[Any]) -> Cancellation:
        """See :meth:`tasuki.App.cancel_many`."""
        return self.run(self._app.cancel_many(ids, queue=queue))

    def signal(self, event: str, key: str | int, value: Any = True, *, actor: str | None = None) -> bool:
        """See :meth:`tasuki.App.signal`."""
        return self.run(self._app.signal(event, key, value, actor=actor))

    def pause(
        self,
        name: str | QueueHandle[Any],
        duration: Duration | None = None,
        *,
        until: datetime | None = None,
        reason: str = "",
        actor: str | None = None,
    ) -> Pause:
        """See :meth:`tasuki.App.pause`."""
        return self.run(self._app.pause(name, duration, until=until, reason=reason, actor=actor))

    def resume(self, name: str | QueueHandle[Any], *, actor: str | None = None) -> Pause | None:
        """See :meth:`tasuki.App.resume`."""
        return self.run(self._app.resume(name, actor=actor))

    def scale(self, consumer: str, concurrency: int | None, *, actor: str | None = None) -> Scale | None:
        """See :meth:`tasuki.App.scale`."""
        return self.run(self._app.scale(consumer, concurrency, actor=actor))

    @property
    def batches(self) -> SyncBatches:
        """See :attr:`tasuki.App.batches`."""
        from tasuki.app.sync.batches import SyncBatches

        return SyncBatches(self._app.batches, self.run)

    def store(self, id: str) -> SyncStoreHandle:
        """See :meth:`tasuki.App.store`; its verbs block until they are done."""
        use = self._app.use_store
        return SyncStoreHandle(
            self._app.full_id(id), lambda verb, *args, **options: self.run(use(id, verb, *args, **options))
        )

    def group(
        self,
        members: Iterable[Later],
        *,
        then: Follower | None = None,
        on_error: Follower | None = None,
        id: str | None = None,
    ) -> StartedGroup:
        """See :meth:`tasuki.App.group`."""
        return self.run(self._app.group(members, then=then, on_error=on_error, id=id))

    def call(self, function: str, *args: object) -> Any:
        """Call a function entry by id; its (first) result."""
        return self.run(self._app.call(function, *args))
