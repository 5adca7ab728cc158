"""What an App says of the last hour of a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.app.handle import QueueHandle
    from tasuki.app.history.writing import History
    from tasuki.clock import Clock


class Passed(msgspec.Struct, frozen=True):
    """One minute of a queue, over all processes; times in seconds."""

    at: float
    """Unix time of its start."""
    published: int
    done: int
    failed: int
    dead: int
    """Messages that became dead letters."""
    ready: int | None
    """Ready messages at its end; None: no process read them."""
    wait_p95: float | None
    """Within which 95 % of the messages started after they were due; None: unknown, or there was none."""
    run_p95: float | None
    """Within which 95 % of the handlers ended; None: there was none."""


class Remembering:
    """The part of an App that tells what has happened."""

    clock: Clock

    async def history(self, queue: str | QueueHandle[Any]) -> list[Passed]:
        """The last 60 minutes of a queue, the oldest first; the last one is not over yet.

        Each process writes its minutes into the state of the queue some seconds after their end. Processes that publish
        fewer than 50 messages and end within a minute are missing, and so are the waits until a worker knows that they
        are wanted: about a minute after the first call.

        Raises:
            QueueNotFoundError: there is no such queue. PolicyDeniedError: the application may not see it.
            DriverError: its store cannot be reached.
        """
        from tasuki.app.history.reading import HistoryReader
        from tasuki.observe.history import MINUTE, MINUTES, Hour

        live = self._live()
        found = live.queue_of_application(self.full_id(queue))
        reader, state = HistoryReader(), live.state_of(found.id)
        if state is not None and state.opened is None:
            await found.depth()  # a store is made by opening it: not for a queue that does not exist
        await reader.apply(await reader.fetch([state], self.recent_history(), self.clock))
        hour = reader.of(live, found.id) or Hour()
        newest = max((hours.newest for hours in reader.hours()), default=int(self.clock.time() // MINUTE))
        spans = (hour.span(minute, minute) for minute in range(newest - MINUTES + 1, newest + 1))
        return [
            Passed(each.at, each.published, each.done, each.failed, each.dead, each.ready, each.wait.p95, each.run.p95)
            for each in spans
        ]

    def recent_history(self) -> History | None:
        """What the queues of this process did in the last hour."""
        raise NotImplementedError

    def full_id(self, queue: str | QueueHandle[Any]) -> str:
        """The id of a queue that is given by id, name or handle."""
        raise NotImplementedError

    def _live(self) -> Assembly:
        raise NotImplementedError
