"""Edit one dead letter, check it with its handlers and send it as a new message; it stays until that is confirmed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasuki.clock import Clock
from tasuki.consumers.handling.tasks import TaskHandlers
from tasuki.contracts.handler import Handler
from tasuki.dead.editing.body import Shown, plain_codec, shown
from tasuki.dead.editing.building import Made, Wanted, make
from tasuki.dead.editing.headers import field_of
from tasuki.dead.editing.problems import BODY, EditError, Problem, line_of
from tasuki.dead.editing.undo import forget, link, remember, undo
from tasuki.dead.host import Host
from tasuki.dead.moving.places import after_letter, reaches
from tasuki.dead.redrive import redrive
from tasuki.dead.walk import letter_of
from tasuki.errors import CodecError, DriverError, HandlerError, InvalidBodyError, QueueNotFoundError, safe_text
from tasuki.handlers.body import make_decoder
from tasuki.handlers.isolated import IsolatedPythonHandler
from tasuki.handlers.python import PythonHandler
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.message import MESSAGE_TYPE, HeaderValue, Message
from tasuki.queues.dead.letter import name_of
from tasuki.queues.dead_letter import home_of, homeless
from tasuki.queues.messages.body_type import BodyType
from tasuki.queues.queue import Queue
from tasuki.registry.entry import did_you_mean

_DOES_NOT_FIT = "the body does not fit: "


async def check(host: Host, target: Queue, message: Message, plain: bytes, text: str | None) -> list[str]:
    """Decode the message as each of its handlers in this project will; returns what could not be checked.

    ``plain``: its body without compression; ``text``: what the editor showed, for the line of an error.

    Raises:
        EditError: the first handler that could not read it, or has no task of its name.
    """
    warnings: list[str] = []
    codec = plain_codec(target.codec_of(message))
    problems = _declared(host, target, message, plain)
    for id, config in host.project.of(ConsumerConfig).items():
        if problems or config.queue != target.id:
            continue
        handler, problems = _chosen(host.called[id], message)
        if handler is None:
            continue
        try:
            await _prepare(handler)
            decode = codec.decoder() if isinstance(handler, IsolatedPythonHandler) else handler.decoder(codec)
        except HandlerError as error:
            warnings.append(f"not checked against {handler.id}: {error}")
            continue
        problems = _tried(decode, plain, f"{handler.id}: ")
    if problems:
        raise EditError([each._replace(line=_line(text, plain, each)) for each in problems])
    return warnings


async def _prepare(handler: Handler) -> None:
    """Let a Python handler know its function, and with it the type of its body."""
    if isinstance(handler, PythonHandler) and not handler.is_started:
        await handler.start()


def _declared(host: Host, target: Queue, message: Message, plain: bytes) -> list[Problem]:
    """The type that code declares for the queue."""
    body = host.project.registry.entries[target.id].target
    if not isinstance(body, BodyType):
        return []
    decode = make_decoder(plain_codec(target.codec_of(message)), body.type_)
    return _tried(decode, plain, f"queue {target.id} takes {body}: ")


def _chosen(handler: Handler, message: Message) -> tuple[Handler | None, list[Problem]]:
    """The function for the message, and why there is none."""
    if not isinstance(handler, TaskHandlers):
        return handler, []
    name = message.headers.get(MESSAGE_TYPE)
    task = handler.tasks.get(str(name))
    if task is not None and isinstance(name, str):
        return task.handler, []
    if handler.default is not None and name is None:
        return handler.default, []
    known = ", ".join(handler.tasks)
    hint = did_you_mean(str(name), handler.tasks) or f"it has {known}"
    text = f"no task has this name; {hint}" if name is not None else f"it names no task: it must be one of {known}"
    return None, [Problem(field_of(MESSAGE_TYPE), text)]


def _tried(decode: Any, plain: bytes, who: str) -> list[Problem]:
    try:
        decode(plain)
    except InvalidBodyError as error:
        return [Problem(BODY, who + str(error).removeprefix(_DOES_NOT_FIT))]
    except CodecError as error:
        return [Problem(BODY, str(error))]
    except Exception as error:  # of a converter or a type of the user's
        return [Problem(BODY, f"{who}{type(error).__name__}: {safe_text(error)}")]
    return []


def _line(text: str | None, plain: bytes, problem: Problem) -> int:
    """Errors name bytes of the compact text, and paths: only a path leads to a line of the text that was shown."""
    if problem.field != BODY or text is None or "byte" in problem.text:
        return problem.line
    return line_of(text, problem.text)


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

    async def send(self, draft: Draft, made: Made, *, keep: bool = False) -> Edited:
        """Send a checked message and remove the letter, unless ``keep``.

        Raises:
            LookupError: the letter has gone meanwhile; nothing was sent.
            PolicyDeniedError: the application may not publish there. DriverError: a broker refuses; the letter stays.
        """
        letter, target = draft.letter, self._live.queue(draft.to)
        can_return = not keep and reaches(self._source, target) and reaches(target, self._source)
        is_undoable = await remember(
            self._live, draft.dead, letter, target.id, made.message.id, self._clock.time(), can_undo=can_return
        )  # fmt: skip
        try:
            if keep:
                errors = await target.forward([made.message], after=[after_letter(letter)])
                if errors and errors[0] is not None:
                    raise errors[0]
            else:
                await self._replace(letter, target, made)
        except Exception as error:
            if not (isinstance(error, DriverError) and error.outcome == "unknown"):  # else it may be stored
                await forget(self._live, draft.dead, made.message.id)
            raise
        if not keep:
            await link(self._live, draft.dead, letter.id, made.message.id)
        facts = {"queue": target.id, "message_id": made.message.id, "edited_from": letter.id, "actor": self._actor}
        _log.info("edited message %s of %s: it is %s in %s now", letter.id, draft.dead, made.message.id, target.id,
                  extra=facts)  # fmt: skip
        return Edited(made.message.id, target.id, letter.id, keep, is_undoable, made.warnings)

    async def _replace(self, letter: Message, target: Queue, made: Made) -> None:
        """Redrive the letter in its new form: one step if the driver has ``transfer``, else publish, then remove.

        The rights were checked when the draft was made. Raises LookupError: the letter has gone.
        """
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
