"""What an App says of its health."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from tasuki.app.app import App
    from tasuki.app.health.health import Health
    from tasuki.state.worker_record import WorkerHealth


class Healthy:
    """The part of an App that watches it."""

    _health: Health | None = None
    is_starting = False
    """Whether it starts its consumers now; one that is only open has none to start."""

    @property
    def health_watch(self) -> Health:
        """What looks at the app; made when it is needed."""
        if self._health is None:
            from tasuki.app.health.health import Health

            self._health = Health(cast("App", self))
        return self._health

    def health(self) -> dict[str, Any]:
        """Whether messages move in this process; from any thread, without waiting.

        From the first call on, brokers are asked every few seconds whether messages wait. ``docs/how-to/health.md`` has
        the table of all checks; :func:`tasuki.app.health.report.respond` makes the answer to an HTTP probe of a report.

        Returns:
            ``live``: a restart would not help; ``ready``: it can work; ``status``: the worst one of ``checks``, a list
            of ``{name, status, since, text}`` with the status ``ok``, ``warning``, ``not_ready`` or ``not_live`` and
            the Unix time since which it is so; ``time``: Unix time of the last observation.
        """
        return self.health_watch.report().as_dict()

    def health_sign(self) -> WorkerHealth | None:
        """The health of this process as its entry in the stores says it; None: nothing observes it. From any thread."""
        return None if self._health is None else self._health.sign()

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """The app opens and starts its consumers within the block."""
        self.is_starting = True
        try:
            yield
        finally:
            self.is_starting = False

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """The consumers start within the block."""
        self.health_watch.begin()
        yield
        self.health_watch.started()

    def _end_health(self) -> None:
        if self._health is not None:
            self._health.end()
