"""``app.dead``: read, redrive and edit dead letters, one by one or as recorded batches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from tasuki.app.handle import QueueHandle, id_of
from tasuki.system.process import user_and_host

if TYPE_CHECKING:
    from tasuki.app.batches import Batches
    from tasuki.app.runtime import Runtime
    from tasuki.dead.editing.edit import Edited, Editor
    from tasuki.dead.reading import DeadLetters
    from tasuki.message import HeaderValue

_SAME: Any = object()


class AppDead:
    """The dead letters of an open app."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def letters(self, queue: str | QueueHandle[Any] = "", *, by: str = "cause", where: str = "") -> DeadLetters:
        """Dead letters, grouped by cause; none is taken, and at most 10,000 of each queue are read.

        Groups of a cause count all letters, also those that are not read, where the driver keeps an index of causes.

        Where a broker cannot show messages (RabbitMQ, SQS), up to 10,000 letters are received and released at once, by
        one reader at a time: ``borrowed`` of the answer names these queues. ``unseen`` names those that could not be
        shown, with what works there.

        Args:
            queue: a dead-letter queue, or a queue that has one, for its letters alone; default all of the project.
            by: ``cause``, ``type``, ``place``, ``queue``, ``reason``, ``task``, ``consumer`` or ``day`` (UTC).
            where: only those that this expression holds for. Names: ``id``, ``queue``, ``reason``, ``type``, ``place``,
                ``cause``, ``error``, ``task``, ``consumer``, ``day``, ``age`` (seconds), ``attempts``, ``redriven``,
                ``headers``, ``body``.

        Raises:
            ValueError: the expression cannot be read, or there are no such groups.
            HeldBackError: another reader receives from the queue now. DriverError: a broker refuses.
        """
        from tasuki.dead.reading import read, sources_of
        from tasuki.dead.selection import Choice

        live = self._runtime.live()
        queues = sources_of(live.project, self._runtime.queue(queue).id if queue else "")
        return await read(live, queues, Choice(where), by, self._runtime.clock)

    async def redrive(
        self,
        dead_letters: str | QueueHandle[Any],
        *,
        to: str | QueueHandle[Any] | None = None,
        limit: int | None = None,
        progress: Callable[[int], None] | None = None,
        where: str = "",
        ids: Collection[str] = (),
        rate: float | None = None,
        dry_run: bool = False,
    ) -> int:
        """Send dead letters back to where they came from, or ``to`` another queue; returns how many.

        Each one is removed from the dead-letter queue when its publish is confirmed.

        Args:
            dead_letters: the queue that they are in.
            to: the queue that gets them.
            limit: the largest number.
            progress: called with how many have been moved so far.
            where: only those that this expression holds for; see :meth:`letters`.
            ids: only those with one of these ids; it ends when it has one of each.
            rate: the largest number a second.
            dry_run: move none, and return how many would be; of the newest 10,000 letters, or 256 MiB, of the queue or
                of the one cause that ``where`` asks for.

        Raises:
            ValueError: the expression cannot be read, the rate is not above 0, or the queue is no dead-letter queue and
                has one, whose letters are meant.
            HeldBackError: the dead-letter queue has a limit, which hands out no more now, and some are left.
            DriverError: the first refusal. Messages that were moved before stay moved.
        """
        from tasuki.dead.reading import letters_meant
        from tasuki.dead.redrive import redrive, require_rights, would_move
        from tasuki.dead.selection import Choice

        live, source = self._runtime.live(), self._runtime.queue(dead_letters)
        target = None if to is None else self._runtime.queue(to)
        require_rights(live, source, target)  # first: a refusal below would tell where the letters are
        if target is None and (letters := letters_meant(live.project, source.id)):
            raise ValueError(
                f"queue {source.id!r} is no dead-letter queue, so its messages came from no other queue; its dead "
                f"letters are in {letters!r}: app.dead.redrive({letters!r}); or name a queue for them: to="
            )
        if dry_run:
            return (await would_move(live, source, target, limit, Choice(where, ids), clock=self._runtime.clock)).count
        done = await redrive(
            live, source, target, limit, progress, clock=self._runtime.clock, where=where, ids=ids, rate=rate
        )
        return done.moved

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

        if body is not _SAME and text is not None:
            raise TypeError("give the new body as a value (body) or as JSON (text), not both")
        wanted = Wanted(SAME if body is _SAME else body, text, headers or {})
        editor = self._editor(dead_letters, actor)
        draft = await editor.draft(id, None if to is None else self._runtime.full_id(id_of(to)))
        return await editor.send(draft, await editor.check(draft, wanted), keep=keep)

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
        return await self._editor(dead_letters, actor).undo(id)

    @property
    def batches(self) -> Batches:
        """Acts on many dead letters, which go on without the process that began them."""
        from tasuki.app.batches import Batches

        return Batches(self._runtime.live, self._runtime.full_id)

    def _editor(self, dead_letters: str | QueueHandle[Any], actor: str | None) -> Editor:
        from tasuki.dead.editing.edit import Editor

        source = self._runtime.full_id(dead_letters)
        return Editor(self._runtime.live(), source, clock=self._runtime.clock, actor=actor or user_and_host())
