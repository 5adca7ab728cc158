"""Whether the handlers of a queue could read an edited message; their code is imported for that."""

from __future__ import annotations

from typing import Any

from tasuki.consumers.handling.tasks import TaskHandlers
from tasuki.contracts.handler import Handler
from tasuki.dead.editing.body import plain_codec
from tasuki.dead.editing.headers import field_of
from tasuki.dead.editing.places import line_of
from tasuki.dead.editing.problems import BODY, EditError, Problem
from tasuki.dead.host import Host
from tasuki.errors import CodecError, HandlerError, InvalidBodyError, safe_text
from tasuki.handlers.body import make_decoder
from tasuki.handlers.isolated import IsolatedPythonHandler
from tasuki.handlers.python import PythonHandler
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.message import MESSAGE_TYPE, Message
from tasuki.queues.messages.body_type import BodyType
from tasuki.queues.queue import Queue
from tasuki.registry.references import did_you_mean

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
