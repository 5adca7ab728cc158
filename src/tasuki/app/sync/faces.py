"""The groups of ``app.sync``: the verbs of the awaited ones, which block until they are done."""

from __future__ import annotations

from typing import Any

from tasuki.app.batches import Batches
from tasuki.app.dead import AppDead
from tasuki.app.handle import QueueHandle
from tasuki.app.jobs import AppJobs, SyncJob, sync_job
from tasuki.app.schedules.declaring import AppSchedules
from tasuki.app.workers import AppWorkers
from tasuki.system.threads import Blocking, blocking


class SyncQueue(Blocking[QueueHandle[Any]]):
    """``app.sync.queue(…)``: inspects and empties a queue."""

    info = blocking(QueueHandle[Any].info)
    depth = blocking(QueueHandle[Any].depth)
    history = blocking(QueueHandle[Any].history)
    peek = blocking(QueueHandle[Any].peek)
    purge = blocking(QueueHandle[Any].purge)
    remove = blocking(QueueHandle[Any].remove)


class SyncJobs(Blocking[AppJobs]):
    """``app.sync.jobs``."""

    cancel = blocking(AppJobs.cancel)
    cancel_many = blocking(AppJobs.cancel_many)
    explain = blocking(AppJobs.explain)
    attempts = blocking(AppJobs.attempts)
    dry_run = blocking(AppJobs.dry_run)

    def get(self, id: str, *, queue: str | QueueHandle[Any]) -> SyncJob[Any]:
        """See :meth:`tasuki.app.jobs.AppJobs.get`."""

        async def find() -> SyncJob[Any]:
            return sync_job(self._awaited.get(id, queue=queue))

        return self._run(find())


class SyncBatches(Blocking[Batches]):
    """``app.sync.dead.batches``: the thread of ``app.sync`` drives a batch as long as the app is open there."""

    begin = blocking(Batches.begin)
    get = blocking(Batches.get)
    wait = blocking(Batches.wait)
    pause = blocking(Batches.pause)
    resume = blocking(Batches.resume)
    cancel = blocking(Batches.cancel)
    undo = blocking(Batches.undo)
    list = blocking(Batches.list)


class SyncDead(Blocking[AppDead]):
    """``app.sync.dead``."""

    letters = blocking(AppDead.letters)
    redrive = blocking(AppDead.redrive)
    edit = blocking(AppDead.edit)
    undo_edit = blocking(AppDead.undo_edit)

    @property
    def batches(self) -> SyncBatches:
        """See :attr:`tasuki.app.dead.AppDead.batches`."""
        return SyncBatches(self._awaited.batches, self._run)


class SyncSchedules(Blocking[AppSchedules]):
    """``app.sync.schedules``."""

    list = blocking(AppSchedules.list)
    run_now = blocking(AppSchedules.run_now)


class SyncWorkers(Blocking[AppWorkers]):
    """``app.sync.workers``."""

    list = blocking(AppWorkers.list)
    pause = blocking(AppWorkers.pause)
    resume = blocking(AppWorkers.resume)
    scale = blocking(AppWorkers.scale)
