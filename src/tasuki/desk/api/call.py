"""Call: one request to an operation, and what operations do with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tasuki.desk.acts import acts
from tasuki.desk.acts.acts import Order
from tasuki.desk.api.answers import Done
from tasuki.desk.api.problems import ProblemError
from tasuki.desk.presentation.words import say
from tasuki.desk.reading.snapshot import QueueRow, Snapshot
from tasuki.desk.security.sessions import ActorSession
from tasuki.desk.site import Site
from tasuki.desk.viewer import Means


@dataclass(frozen=True, slots=True)
class ApiCall:
    """``names``: the names in its path; ``query`` and ``body``: as the operation declares them."""

    tools: Means
    session: ActorSession
    names: Mapping[str, str]
    query: Any
    body: Any

    @property
    def site(self) -> Site:
        """The queues."""
        return self.tools.site

    async def snapshot(self) -> Snapshot:
        """The last snapshot. Raises AwayError."""
        return await self.tools.sampler.latest()

    async def row(self) -> tuple[Snapshot, QueueRow]:
        """The snapshot, and the row of the queue in the path. Raises ProblemError, AwayError."""
        snapshot = await self.snapshot()
        row = snapshot.queues.get(self.names["queue"])
        if row is None:
            name = self.names["queue"]
            raise ProblemError(404, f"there is no queue {name!r}{_near(name, snapshot.queues)}")
        return snapshot, row

    def may(self, act: str, id: str) -> bool:
        """Whether the actor may do this."""
        return self.tools.acts.rights().may(self.session.actor, act, id)

    def require(self, act: str, id: str) -> None:
        """Return if the actor may do this. Raises PolicyDeniedError, and logs that."""
        self.tools.acts.rights().require(self.session.actor, act, id)

    async def act(self, order: Order) -> Done:
        """Carry out an order. Raises ProblemError, and what the act raises."""
        done = await self.carry_out(order)
        values = dict(done.values)
        count, message = values.get("n"), values.get("new", values.get("message"))
        return Done(
            act=order.act,
            target=order.id,
            result=done.key.removeprefix("done.").removeprefix(order.act).lstrip("._") or "done",
            text=say("en", done.key, values),
            message=None if message is None else str(message),
            count=count if isinstance(count, int) else None,
            batch=values.get("batch"),
            warnings=list(getattr(values.get("edited"), "warnings", ())),
        )

    async def carry_out(self, order: Order) -> acts.ActResult:
        """The same as its text and values."""
        try:
            self.tools.acts.queue_of(order)
        except KeyError:
            hint = _near(order.id, self.site.project.kinds)
            raise ProblemError(404, f"there is no {order.kind} {order.id!r}{hint}") from None
        try:
            return await self.tools.acts.carry_out(order, self.session)
        except LookupError as error:
            raise ProblemError(404, str(error)) from error


def _near(name: str, known: Iterable[str]) -> str:
    """Which ids have this name, for an error."""
    found = [id for id in known if name and id.endswith(f":{name}")][:3]
    return f"; did you mean {' or '.join(map(repr, found))}?" if found else ""
