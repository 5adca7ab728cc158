"""Edit and dry run: the part of an App that edits one dead letter, and tries one without any effect."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

from tasuki.app.handle import id_of

if TYPE_CHECKING:
    from tasuki.app.app import App
    from tasuki.app.assembly import Assembly
    from tasuki.app.dry_run.report import DryRun
    from tasuki.app.dry_run.target import Loading
    from tasuki.app.handle import QueueHandle
    from tasuki.app.source import Source
    from tasuki.clock import Clock
    from tasuki.dead.editing.edit import Edited
    from tasuki.message import HeaderValue
    from tasuki.units import Duration

_SAME: Any = object()


class Changes(TypedDict, total=False):
    """What an edit changes; see :meth:`tasuki.App.edit`."""

    body: Any
    text: str | None
    headers: Mapping[str, HeaderValue | None] | None
    to: str | QueueHandle[Any] | None
    keep: bool
    actor: str | None


class EditAndDryRun:
    """Each act is about one message."""

    clock: Clock
    _source: Source

    async def edit(
        self,
        dead_letters: str | QueueHandle[Any],
        id: str,
        *,
        body: Any = _SAME,
        text: str | None = None,
        headers: Mapping[str, HeaderValue | None] | None = None,
        to: str | QueueHandle[Any] | None = None,
        keep: bool = False,
        actor: str | None = None,
    ) -> Edited:
        """Send a dead letter back with changes, as a new message; all that is not changed stays as it is.

        It is checked before anything moves: against the type of its handler, the limits of its queue, and the rights of
        the application. The letter leaves its queue when the new message is confirmed.

        Args:
            dead_letters: the queue that the letter is in.
            id: of the letter. The new message gets its own id; its header ``x_edited_from`` says this one.
            body: the new body: a value, or bytes as they travel.
            text: the new body as JSON, in place of ``body``; its numbers keep their digits.
            headers: headers that change; None takes one away.
            to: the queue that gets it; default the one where it failed.
            keep: leave the letter in its queue too.
            actor: who edits, for the header ``x_edited_by``; default the actor of the application, or the user and the
                host.

        Raises:
            EditError: the new message is not valid; ``problems`` says for each problem at which header or line.
            LookupError: there is no such letter, or it has left meanwhile; nothing was sent.
            QueueNotFoundError: there is no such queue, or its original queue is not one of the project.
            PolicyDeniedError: the application may not edit here, or not publish there.
            DriverError: a broker refuses; the letter is still there.
            TypeError: both ``body`` and ``text`` are given.
        """
        from tasuki.dead.editing.building import SAME, Wanted
        from tasuki.dead.editing.edit import Editor
        from tasuki.system.process import user_and_host

        if body is not _SAME and text is not None:
            raise TypeError("give the new body as a value (body) or as JSON (text), not both")
        wanted = Wanted(SAME if body is _SAME else body, text, headers or {})
        source = self.full_id(dead_letters)
        editor = Editor(self._live(), source, clock=self.clock, actor=actor or user_and_host())
        draft = await editor.draft(id, None if to is None else self.full_id(id_of(to)))
        return await editor.send(draft, wanted, keep=keep)

    async def undo_edit(self, dead_letters: str | QueueHandle[Any], id: str, *, actor: str | None = None) -> str:
        """Bring a dead letter back in the place of the message that its edit made; returns the letter's id.

        Args:
            dead_letters: the queue that the letter was in.
            id: of the new message.
            actor: who undoes, for the log; as for ``edit``.

        Raises:
            LookupError: the edit is older than 15 minutes or cannot be undone, or the new message has started.
            PolicyDeniedError: the application may not edit here. DriverError: a broker refuses.
        """
        from tasuki.dead.editing.edit import Editor
        from tasuki.system.process import user_and_host

        source = self.full_id(dead_letters)
        return await Editor(self._live(), source, clock=self.clock, actor=actor or user_and_host()).undo(id)

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
        from tasuki.dead.finding import letter_of
        from tasuki.system.process import user_and_host
        from tasuki.units import parse_duration

        live, source, loading = self._live(), self.full_id(queue), self.loading()
        guard = live.rights.application
        if guard is not None:
            guard.require("queue.admin.dry_run", source, f"not allowed to dry-run messages of queue: {source}")
        message = await letter_of(live.queue(source), id, self.clock)
        who = actor or (user_and_host() if guard is None or guard.actor is None else guard.actor.id)
        trial = trial_of(live, loading, message, source, self.clock.time())
        return await dry_run(trial, partial(entries, live), actor=who, limit=parse_duration(limit))

    def loading(self) -> Loading:
        """How another process loads this app. Raises LifecycleError: it cannot."""
        from tasuki.app.dry_run.target import loading_of

        app: App = self  # type: ignore[assignment]
        return loading_of(app, self._source)

    def full_id(self, queue: str | QueueHandle[Any]) -> str:
        """The id of a queue or function that is given by id, name or handle."""
        raise NotImplementedError

    def _live(self) -> Assembly:
        raise NotImplementedError
