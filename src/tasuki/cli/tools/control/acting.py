"""Acts of the command line: each is kept in the audit, with the user and the host of this process."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from tasuki.system.process import user_and_host

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.app.audit.audited import Outcome

CLIENT = "command line"
"""From where these acts come."""


def acting(app: App, act: str, target: str, queue: str = "") -> AbstractAsyncContextManager[Outcome]:
    """Keep the record of the act that the block is; ``queue``: whose store keeps it, else any of the project."""
    from tasuki.app.audit.audited import audited

    live = app._runtime.live()
    guard = live.rights.application
    actor = guard.actor.id if guard is not None and guard.actor is not None else user_and_host()
    return audited(live, queue, act, target, actor=actor, client=CLIENT)


def ids_text(ids: Sequence[str]) -> str:
    """Ids of messages as the filter of a record; imported when it is needed."""
    from tasuki.app.audit import audited

    return audited.ids_text(ids)
