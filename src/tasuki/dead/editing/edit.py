"""Edit one dead letter and send it as a new message; the letter stays until that one is confirmed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from tasuki.clock import Clock
from tasuki.dead.editing.body import Shown, shown
from tasuki.dead.editing.building import Made, Wanted, make
from tasuki.dead.editing.checking import check
from tasuki.dead.editing.undo import remember, undo
from tasuki.dead.finding import letter_of
from tasuki.dead.host import Host
from tasuki.dead.moving.places import after_letter, reaches
from tasuki.dead.redrive import redrive
from tasuki.errors import QueueNotFoundError
from tasuki.message import HeaderValue, Message
from tasuki.queues.dead.letter import name_of
from tasuki.queues.dead_letter import home_of, homeless
from tasuki.queues.queue import Queue

_log = logging.getLogger("tasuki.edit")


@dataclass(frozen=True, slots=True)
class Draft:
    """A dead letter as an editor shows it."""

    letter: Message
    dead: str
    """The id of the queue that it is in."""
    to: str
    """The id of the queue that it goes to."""
    shown: Shown
    home: str
    """The id of the queue that it comes from; empty: none whose letters go there."""

    @property
    def headers(self) -> Mapping[str, HeaderValue]:
        """All of its headers, locked ones too."""
        return self.letter.headers


@dataclass(frozen=True, slots=True)
class Edited:
    """What became of an edit."""

    id: str
    """Of the new message."""
    queue: str
    """The id of the queue that has it."""
    edited_from: str
    """The id of the dead letter."""
    is_kept: bool
    """Whether the dead letter is still in its queue."""
    is_undoable: bool
    """Whether the edit can be undone within 15 minutes, while the new message waits."""
    warnings: tuple[str, ...] = ()
    """What a change of a sensitive header does, and what could not be checked."""


class Editor:
    """Edits letters of one dead-letter queue.

    ``actor``: who edits, for the record; ``is_permitted``: someone else than the application acts, and has the rights.
    """

    def __init__(self, live: Host, dead: str, *, clock: Clock, actor: str, is_permitted: bool = False) -> None:
        self._live = live
        self._source = live.queue(dead)
        self._clock = clock
        self._actor = actor
        self._is_permitted = is_permitted
        guard = None if is_permitted else live.rights.application
        if guard is not None:
            guard.require("queue.admin.edit", dead, f"not allowed to edit messages of queue: {dead}")
            self._actor = guard.actor.id if guard.actor is not None else actor
        self._guard = guard

    async def draft(self, id: str, to: str | None = None) -> Draft:
        """A letter as it is. Raises LookupError: it is not there; as ``edit``."""
        return self.draft_of(await letter_of(self._source, id, self._clock), to)

    def draft_of(self, letter: Message, to: str | None = None, most: int = sys.maxsize) -> Draft:
        """The same of a letter that has been read. Raises QueueNotFoundError, PolicyDeniedError.

        ``most``: bytes of the largest body that is shown as text.
        """
        target = self._target(letter, to)
        home = home_of(letter, self._source, self._live.queues)
        text = shown(letter.body, target.codec_of(letter), most)
        return Draft(letter, self._source.id, target.id, text, "" if home is None else home.id)

    async def check(self, draft: Draft, wanted: Wanted) -> Made:
        """The message that it would become. Raises EditError, with every problem."""
        target = self._live.queue(draft.to)
        origin = self._live.queues.get(draft.home)
        made = make(draft.letter, origin, target, wanted, self._actor, self._clock.time())
        text = draft.shown.text if wanted.text is None else wanted.text
        unchecked = await check(self._live, target, made.message, made.plain, text)
        return Made(made.message, made.plain, (*made.warnings, *unchecked))

    async def undo(self, id: str) -> str:
        """Bring the letter back whose edit made this message; see :func:`tasuki.dead.editing.undo.undo`."""
        found = await undo(self._live, self._source.id, id)
        facts = {"queue": self._source.id, "message_id": found, "actor": self._actor}
        _log.info("edit of message %s of %s undone: %s is gone", found, self._source.id, id, extra=facts)
        return found

    async def send(self, draft: Draft, wanted: Wanted, *, keep: bool = False) -> Edited:
        """Check the message, send it, and take the letter away, unless it is to be kept.

        Raises:
            EditError: every problem of the message. LookupError: the letter has gone meanwhile; nothing was sent.
            PolicyDeniedError: the application may not publish there. DriverError: a broker refuses; the letter stays.
        """
        made, letter = await self.check(draft, wanted), draft.letter
        target = self._live.queue(draft.to)
        is_undoable = await remember(
            self._live, draft.dead, letter, target.id, made.message.id, self._clock.time(),
            keeps=not keep and reaches(self._source, target) and reaches(target, self._source), is_copy=keep,
        )  # fmt: skip
        if keep:
            errors = await target.forward([made.message], after=[after_letter(letter)])
            if errors and errors[0] is not None:
                raise errors[0]
        else:
            await self._replace(letter, target, made)
        facts = {"queue": target.id, "message_id": made.message.id, "edited_from": letter.id, "actor": self._actor}
        _log.info("edited message %s of %s: it is %s in %s now", letter.id, draft.dead, made.message.id, target.id,
                  extra=facts)  # fmt: skip
        return Edited(made.message.id, target.id, letter.id, keep, is_undoable, made.warnings)

    async def _replace(self, letter: Message, target: Queue, made: Made) -> None:
        """Redrive the letter in its new form. Raises LookupError: it has gone."""
        done = await redrive(
            self._live, self._source, target, 1, clock=self._clock, ids=[name_of(letter)], is_permitted=True,
            form=lambda letter, now: made.message,
        )  # fmt: skip
        if not done.moved:
            source = self._source.id
            raise LookupError(f"message {letter.id} is not in {source} any more, or another process holds it")

    def _target(self, letter: Message, to: str | None) -> Queue:
        target = home_of(letter, self._source, self._live.queues) if to is None else self._live.queues.get(to)
        if target is None:
            why = homeless(letter, self._source) if to is None else f"there is no queue {to!r} in this project"
            raise QueueNotFoundError(why, queue=to or self._source.id)
        if self._guard is not None:
            self._guard.publish(target.id)
        return target
