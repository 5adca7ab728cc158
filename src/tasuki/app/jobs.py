"""``app.jobs``: follow, cancel and explain single messages by their ids."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from tasuki.app.handle import QueueHandle
from tasuki.errors import QueueNotFoundError
from tasuki.system.process import user_and_host
from tasuki.units import Duration, parse_duration

if TYPE_CHECKING:
    from tasuki.app.app import App
    from tasuki.app.dry_run.report import DryRun
    from tasuki.app.explain.rule import Explanation
    from tasuki.app.state.jobs import Job
    from tasuki.contracts.state.jobs import Cancellation, CancelOutcome
    from tasuki.queues.dead.attempts import AttemptRecord


class AppJobs:
    """The published messages of an open app, whichever process published them."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._runtime = app._runtime

    def get(self, id: str, *, queue: str | QueueHandle[Any] = "") -> Job[Any]:
        """A message by its id, published by any process. Raises LifecycleError, QueueNotFoundError."""
        from tasuki.app.state.jobs import Job

        if not isinstance(id, str) or not queue:
            raise TypeError(
                "app.jobs.get(id, queue=queue) is a message by its id and the queue that it was published to; as a "
                "decorator write '@queue.consumer'"
            )
        live = self._runtime.live().queue(self._runtime.full_id(queue))
        return Job(id, live.durability, queue=live.id, _app=self._app)

    async def cancel(self, id: str, *, queue: str | QueueHandle[Any] | None = None) -> CancelOutcome:
        """Cancel a message: it does not start any more, and a handler that has it is interrupted.

        Nothing brings it back for 7 days: no retry, redelivery or redrive, and no publish under the same id. Without a
        queue every queue is searched that is consumed, and a message that is not found stays unknown.

        Returns where it was: ``waiting`` (it never starts), ``running`` (its handler is interrupted, unless it ends
        before), ``not found`` (settled already, or unknown), or, where the broker cannot remove a message by its id and
        no worker has it now, ``requested``: a worker that is about to start it finds that it is cancelled.

        Raises:
            PolicyDeniedError: the application may not cancel there.
            QueueNotFoundError: there is no such queue. UnsupportedError: it has no state.
            DriverError: its store or its broker cannot be reached; cancel again.
        """
        from tasuki.app.state.cancelling import cancel_anywhere

        live = self._runtime.live()
        guard = live.rights.application
        if queue is None:
            return await cancel_anywhere(live, guard, id)
        return await live.cancel_from(guard, self._runtime.full_id(queue), id)

    async def cancel_many(self, ids: Iterable[str], *, queue: str | QueueHandle[Any]) -> Cancellation:
        """Cancel many messages of one queue; see ``cancel``. Returns how many were where."""
        from tasuki.app.state.cancelling import cancel_in

        live = self._runtime.live()
        return await cancel_in(live, live.rights.application, self._runtime.full_id(queue), ids)

    async def explain(self, queue: str | QueueHandle[Any] | None, id: str) -> Explanation:
        """Why a message does not run now: the first cause that holds, then the others, each with what changes it.

        It reads the first 10,000 waiting messages, and asks the workers for their latest events; they have two seconds
        to answer.

        Args:
            queue: by id, name or handle; None: all queues are searched, and the first one that knows it counts. One
                that cannot be reached is a cause then: ``away``.
            id: of the message.

        Raises:
            QueueNotFoundError: there is no such queue. PolicyDeniedError: the application may not see it, or look into
                it. DriverError: the broker or the store of the queue that was named cannot be reached.
        """
        from tasuki.app.explain.looking import explain_in, search

        live = self._runtime.live()
        if queue is not None:
            return await explain_in(live, self._runtime.clock, self._runtime.full_id(queue), id)
        if not live.queues:
            raise QueueNotFoundError("the project has no queue", queue="")
        return await search(live, self._runtime.clock, list(live.queues), id)

    async def attempts(self, queue: str | QueueHandle[Any], id: str) -> list[AttemptRecord]:
        """The last five failed attempts of a message: when, on which worker, how long, and the error of each.

        They are kept for seven days, in the store of the queue. A dead letter carries its own
        (``Letter.attempt_records``).

        Args:
            queue: the queue that the message was published to.
            id: of the message.

        Raises:
            UnsupportedError: the queue has no store. PolicyDeniedError: the application may not look into it.
            DriverError: the store cannot be read.
        """
        from tasuki.dead.reading import attempts_of

        live = self._runtime.live()
        return await attempts_of(live, live.queue_of_application(self._runtime.full_id(queue)), id)

    async def dry_run(
        self, queue: str | QueueHandle[Any], id: str, *, limit: Duration = 30.0, actor: str | None = None
    ) -> DryRun:
        """Call the handler of a waiting message or a dead letter, and record what it would do; nothing is settled.

        The app is loaded in its own process, with a store in memory in the place of each broker: what the handler
        publishes, requests, writes to stores, signals, cancels and measures is recorded there, and its transactions are
        rolled back. The message stays as it is, for consumers too. Calls that the code makes itself (HTTP, SQL outside
        Tasuki) really happen.

        Args:
            queue: the queue that the message is in.
            id: of the message.
            limit: after which the process is ended.
            actor: who, for the log; default the actor of the application, or the user and the host.

        Raises:
            LookupError: no such message waits there. HandlerError: no consumer of this project gets it.
            LifecycleError: the app is not at the top level of a module, so no other process can load it.
            PolicyDeniedError: the application may not. DriverError: a broker refuses.
        """
        from tasuki.app.dry_run.run import dry_run, entries, trial_of
        from tasuki.app.dry_run.target import loading_of
        from tasuki.dead.walk import letter_of

        live, source, loading = self._runtime.live(), self._runtime.full_id(queue), loading_of(self._runtime)
        guard = live.rights.application
        if guard is not None:
            guard.require("queue.admin.dry_run", source, f"not allowed to dry-run messages of queue: {source}")
        message = await letter_of(live.queue(source), id, self._runtime.clock)
        who = actor or (user_and_host() if guard is None or guard.actor is None else guard.actor.id)
        trial = trial_of(live, loading, message, source, self._runtime.clock.time())
        return await dry_run(trial, partial(entries, live), actor=who, limit=parse_duration(limit))
