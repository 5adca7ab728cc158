"""Pausable: the half of an App that pauses, resumes and scales."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from tasuki.units import Duration, one_of

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.app.handle import QueueHandle
    from tasuki.app.state.pausing import Steering, Target
    from tasuki.state.pauses import Pause, Scale


class Pausable:
    """Acts for all processes of the app, this one included, whether or not they run now."""

    assembly: Assembly | None

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
            duration: after which the pause ends by itself (``10m``, seconds, a ``timedelta``).
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
        from tasuki.app.handle import id_of
        from tasuki.app.state.pausing import Steering, Target, find_target
        from tasuki.system.process import user_and_host

        live, text = self._live(), id_of(name)
        if isinstance(name, str):
            target = (
                find_target(live.project, text, ("consumer",)) if only_consumers else find_target(live.project, text)
            )
        else:
            target = Target("queue", text)
        return Steering(live, live.rights.application, actor or user_and_host()), target

    def _live(self) -> Assembly:
        raise NotImplementedError
