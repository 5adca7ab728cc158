"""``app.workers``: list the workers, pause, resume and scale what they do."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tasuki.app.handle import QueueHandle, id_of
from tasuki.system.process import user_and_host
from tasuki.units import Duration, one_of

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.app.runtime import Runtime
    from tasuki.app.state.pausing import Steering, Target
    from tasuki.app.typed import entries as e
    from tasuki.state.pauses import Pause, Scale
    from tasuki.state.worker_record import Presence


class AppWorkers:
    """Acts for all processes of the app, this one included, whether or not they run now."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def list(self) -> builtins.list[Presence]:
        """The worker processes that consume from queues of this app, on all machines, as their last signs say.

        A worker gives a sign every 12 seconds while it is idle, every 5 while it works, and is gone 15 seconds after
        its last one. Workers of queues without a state, or in memory, are not among them.

        Raises:
            LifecycleError: the app is not open. DriverError: a store cannot be read.
        """
        from tasuki.app.state.finding import states_there
        from tasuki.app.state.workers import workers_of

        states = await states_there(self._runtime.live())
        return await workers_of([state for state in states if state.driver.capabilities.multi_process])

    def pool(self, name: str, queues: Sequence[str | QueueHandle[Any]], **fields: Unpack[e.WorkerFields]) -> str:
        """Let the consumers of these queues share their workers; returns the id of the entry, a ``queue.worker``.

        Args:
            name: of the entry.
            queues: by name, id or handle; with ``order="strict"`` the most urgent one first.
            fields: the fields of ``queue.worker``: concurrency, order, weights (by name or id of the queue).
        """
        return self._runtime.source.declared.add(name, "queue.worker", {"queues": [*map(id_of, queues)], **fields}).id

    async def pause(
        self,
        name: str | QueueHandle[Any],
        duration: Duration | None = None,
        *,
        until: datetime | None = None,
        reason: str = "",
        actor: str | None = None,
    ) -> Pause:
        """Pause a queue, a consumer or a schedule: for a ``duration``, ``until`` a time, or until it is resumed.

        Within two seconds all workers have stopped receiving and have released what has not started; running handlers
        end. A worker that starts later starts paused. A pause that was there is replaced.

        Args:
            name: a queue by handle, or the id of a queue, consumer or schedule, or its name if no other of them has it.
            duration: after which the pause ends (``10m``, seconds, a ``timedelta``).
            until: a time with a time zone, in place of ``duration``.
            reason: why, for those who see it.
            actor: who, for those who see it; default the actor of the application, or the user and the host.

        Raises:
            ConfigError: there is no such name, or several. UnsupportedError: its queue has no state.
            ValueError: the time is over or has no time zone, or both are given.
            PolicyDeniedError, DriverError.
        """
        steering, target = self._steer(name, actor)
        return await steering.pause(target, one_of("duration", duration, until, "until"), reason)

    async def resume(self, name: str | QueueHandle[Any], *, actor: str | None = None) -> Pause | None:
        """End the pause of a queue, a consumer or a schedule; returns the pause that ended, None if there was none.

        A consumer whose queue is paused too, or that is scaled to 0, still waits. Raises as ``pause``.
        """
        steering, target = self._steer(name, actor)
        return await steering.resume(target)

    async def scale(self, consumer: str, concurrency: int | None, *, actor: str | None = None) -> Scale | None:
        """Set how many messages each process handles at the same time for a consumer; ``prefetch`` follows.

        It holds for processes that start later too, until it is reset.

        Args:
            consumer: its id, or its name if no other consumer has it.
            concurrency: 0 (paused) to 1000; None: as its entry says.
            actor: as for ``pause``.

        Raises:
            ValueError: ``concurrency`` is out of bounds. Else as ``pause``.
        """
        steering, target = self._steer(consumer, actor, only_consumers=True)
        return await steering.scale(target.id, concurrency)

    def _steer(
        self, name: str | QueueHandle[Any], actor: str | None, *, only_consumers: bool = False
    ) -> tuple[Steering, Target]:
        from tasuki.app.state.pausing import Steering, Target, find_target

        live, text = self._runtime.live(), id_of(name)
        if isinstance(name, str):
            target = (
                find_target(live.project, text, ("consumer",)) if only_consumers else find_target(live.project, text)
            )
        else:
            target = Target("queue", text)
        return Steering(live, live.rights.application, actor or user_and_host()), target
