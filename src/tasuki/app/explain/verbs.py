"""Explaining: the part of an App that says why a message does not run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.app.explain.rule import Explanation
    from tasuki.app.handle import QueueHandle
    from tasuki.clock import Clock


class Explaining:
    """Looks, and changes nothing."""

    clock: Clock

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
        from tasuki.errors import QueueNotFoundError

        live = self._live()
        if queue is not None:
            return await explain_in(live, self.clock, self.full_id(queue), id)
        if not live.queues:
            raise QueueNotFoundError("the project has no queue", queue="")
        return await search(live, self.clock, list(live.queues), id)

    def full_id(self, queue: str | QueueHandle[Any]) -> str:
        """The id of a queue or function that is given by id, name or handle."""
        raise NotImplementedError

    def _live(self) -> Assembly:
        raise NotImplementedError
