"""The message that an edited dead letter becomes, checked as far as its queue alone can say; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tasuki.contracts.codec import Codec
from tasuki.contracts.driver import Outgoing
from tasuki.dead.editing.body import plain_codec, shown, unpacked, written
from tasuki.dead.editing.headers import changed, field_of
from tasuki.dead.editing.problems import BODY, EditError, Problem
from tasuki.errors import CodecError, HandlerError
from tasuki.message import (
    CONTENT_TYPE,
    EDITED_BY,
    EDITED_FROM,
    PARTITION_KEY,
    PRIORITY,
    SIGNATURE,
    HeaderValue,
    Message,
    is_reserved,
    new_id,
)
from tasuki.queues.dead_letter import redriven
from tasuki.queues.queue import Queue

_ACTOR = 200
"""Most characters of an actor in a header."""


class _Same:
    """The body stays as it is."""


SAME: Final = _Same()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an editor changes; all else stays."""

    body: Any = SAME
    """A value that the codec can carry, or bytes as they travel, without compression."""
    text: str | None = None
    """The same as JSON."""
    headers: Mapping[str, HeaderValue | None] = field(default_factory=dict)
    """Of the headers those that change; None takes one away."""


@dataclass(frozen=True, slots=True)
class Made:
    """A message that can be sent, and what the one who sends it should know."""

    message: Outgoing
    plain: bytes
    """Its body without compression."""
    warnings: tuple[str, ...]


def make(letter: Message, origin: Queue | None, target: Queue, wanted: Wanted, actor: str, now: float) -> Made:
    """The message.

    Args:
        letter: as it is in the dead-letter queue.
        origin: the queue where it failed; None: it is not one of the project.
        target: the queue that it goes to.
        wanted: the changes.
        actor: who edits it, for its headers.
        now: Unix seconds.

    Raises:
        EditError: every problem at once.
    """
    own, problems, warnings = changed(letter.headers, wanted.headers)
    problems += _unsigned(letter, origin, target)
    ours = {name: value for name, value in redriven(letter, now).headers.items() if is_reserved(name)}
    headers: dict[str, HeaderValue] = {**ours, **own, EDITED_BY: _header_text(actor), EDITED_FROM: letter.id}
    plain = body = b""
    try:
        plain, body = _body(letter, target, wanted, headers)
    except EditError as error:
        problems += error.problems
    problems += _refused_options(target, wanted, plain)
    if problems:
        raise EditError(problems)
    priority, key = headers.get(PRIORITY), headers.get(PARTITION_KEY)
    message = Outgoing(
        new_id(),
        body,
        headers,
        priority=priority if isinstance(priority, int) else 0,
        key=None if key is None else str(key),
    )
    headers.pop(SIGNATURE, None)
    if target.signer is not None:
        target.signer.sign((message,))
    return Made(message, plain, tuple(warnings))


def _header_text(actor: str) -> str:
    return actor[:_ACTOR].encode("utf-8", "replace").decode()


def _refused_options(target: Queue, wanted: Wanted, plain: bytes) -> list[Problem]:
    problems, limit = [], target.policy.max_message_size
    if len(plain) > limit:
        text = f"{len(plain)} bytes are more than the max_message_size of {target.id} ({limit} bytes)"
        problems.append(Problem(BODY, text))
    if wanted.headers.get(PRIORITY) and not target.driver.capabilities.has("native_priority"):
        problems.append(Problem(field_of(PRIORITY), f"driver {target.driver.name!r} has no priorities"))
    return problems


def _unsigned(letter: Message, origin: Queue | None, target: Queue) -> list[Problem]:
    """Why the message cannot be signed as the queue demands; a forged message must not get a good signature."""
    signer = None if origin is None else origin.signer
    why = None if signer is None else signer.verify(letter)
    if why is not None:
        why = f"{why}; an edited one would be signed: publish a new message instead"
    elif signer is None and SIGNATURE in letter.headers:
        why = "it is signed, and this process has no key of its queue: edit it where that queue has its signing keys"
    elif signer is None and target.signer is not None:
        why = f"{target.id} signs its messages, and this one came without a signature: publish a new message there"
    return [] if why is None else [Problem("", why)]


def _body(letter: Message, target: Queue, wanted: Wanted, headers: dict[str, HeaderValue]) -> tuple[bytes, bytes]:
    """The body without compression, and as it travels; ``headers`` get the content type. Raises EditError."""
    before = target.codec_of(letter)
    is_same_text = wanted.text is not None and wanted.text.strip() == shown(letter.body, before).text.strip()
    if wanted.body is SAME and (wanted.text is None or is_same_text):
        return _kept(letter.body, target.codec_of(Message("", b"", headers))), letter.body
    codec = plain_codec(target.codec_of(Message("", b"", headers)))
    if wanted.text is not None:
        plain = written(wanted.text, codec)
    elif isinstance(wanted.body, bytes | bytearray | memoryview):
        plain = bytes(wanted.body)
    else:
        try:
            plain = codec.encode(wanted.body)
        except CodecError as error:
            raise EditError([Problem(BODY, str(error))]) from error
    headers[CONTENT_TYPE] = codec.name
    return plain, _packed(plain, target, headers)


def _kept(body: bytes, codec: Codec) -> bytes:
    try:
        return unpacked(body, codec)
    except (CodecError, HandlerError) as error:
        raise EditError([Problem(BODY, str(error))]) from error


def _packed(plain: bytes, target: Queue, headers: dict[str, HeaderValue]) -> bytes:
    """The body as the queue compresses it."""
    compression = target.policy.compression
    packed = None if compression is None else compression.compressed(plain)
    if compression is None or packed is None:
        return plain
    headers[CONTENT_TYPE] = f"{headers[CONTENT_TYPE]}+{compression.method}"
    return packed
