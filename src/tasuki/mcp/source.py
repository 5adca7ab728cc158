"""Source: the installation that the tools show, and what those tools need that read no queue."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from tasuki.clock import Clock
from tasuki.desk.api.asked import Nothing, part_of
from tasuki.desk.api.call import ApiCall
from tasuki.desk.api.operations.table import Operation
from tasuki.desk.security.sessions import ActorSession
from tasuki.desk.site import AwayError, Site
from tasuki.desk.viewer import Viewer
from tasuki.mcp.passages import Passages


class ToolSource(Viewer):
    """A viewer for a language model.

    Args:
        site: not open yet.
        actor: who acts, for policies, the log and the audit.
        clock: the machine's.
        check: the command that checks the project, and its arguments.
        passages: what docs_search looks through.
    """

    def __init__(self, site: Site, actor: str, clock: Clock, check: Sequence[str], passages: Passages) -> None:
        super().__init__(site, ActorSession("mcp", actor, "", "mcp"), clock)
        self.actor, self.check, self.passages = actor, check, passages

    def call(self, operation: Operation, given: Any, id_of: str = "") -> ApiCall:
        """A request of this actor to an operation of the API; ``given``: the names in its path, its query and body.

        ``id_of``: the name in the path that is given as ``id``.
        """
        names = {name: getattr(given, "id" if name == id_of else name) for name in operation.names}
        query, body = part_of(operation.query, given), part_of(operation.body or Nothing, given)
        return ApiCall(self, self.session, names, query, body)

    @property
    def known(self) -> Collection[str]:
        """Ids of the project's entries; none before it was read."""
        try:
            return self.site.project.kinds.keys()
        except AwayError:
            return ()
