"""Mending: the part of an App that edits one dead letter, and tries one without any effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasuki.app.handle import id_of

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.app.handle import QueueHandle
    from tasuki.clock import Clock
    from tasuki.message import HeaderValue
    from tasuki.workbench.editing.edit import Edited

_SAME: Any = object()


class Mending:
    """Each act is about one message."""

    clock: Clock

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
            id: of the letter. The new message gets an id of its own; its header ``x_edited_from`` says this one.
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
        from tasuki.system.identity import user_and_host
        from tasuki.workbench.editing.building import SAME, Wanted
        from tasuki.workbench.editing.edit import Editor

        if body is not _SAME and text is not None:
            raise TypeError("give the new body as a value (body) or as JSON (text), not both")
        wanted = Wanted(SAME if body is _SAME else body, text, headers or {})
        source = self.full_id(dead_letters)
        editor = Editor(self._live(), source, clock=self.clock, actor=actor or user_and_host())
        draft = await editor.draft(id, None if to is None else self.full_id(id_of(to)))
        return await editor.send(draft, wanted, keep=keep)

    def full_id(self, queue: str | QueueHandle[Any]) -> str:
        """The id of a queue or function that is given by id, name or handle."""
        raise NotImplementedError

    def _live(self) -> Assembly:
        raise NotImplementedError
