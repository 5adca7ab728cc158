"""Lanes: find the lane of a message by one of its values, as in ``header.tenant`` or ``body.user.id``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tasuki.contracts.driver import Outgoing
from tasuki.errors import CodecError, InvalidBodyError, PublishError
from tasuki.message import PARTITION_KEY, HeaderValue, Message
from tasuki.queues.messages.headers import check_name

_PATH = re.compile(r"header\.[^\s.][^\s]*|body(\.[^\s.]+)+")

_BYTES_LIKE = (bytes, bytearray, memoryview)


@dataclass(frozen=True, slots=True)
class ValuePath:
    """``names`` lead through the body from its outside in; of a header there is one name."""

    text: str
    is_header: bool
    names: tuple[str, ...]

    def read(self, body: object, headers: Mapping[str, HeaderValue] | None) -> str | None:
        """The value as text; None: the message has none, or an empty one.

        Raises:
            PublishError: the value is neither a text nor a number nor a bool, or the body is bytes already.
        """
        if self.is_header:
            value: Any = (headers or {}).get(self.names[0])
        else:
            value = self._in_body(body)
        if value is None:
            return None
        if isinstance(value, bool | int | float):
            return str(value).lower() if isinstance(value, bool) else str(value)
        if not isinstance(value, str):
            raise PublishError(f"{self.text} is {type(value).__name__}, which is no key: it must be text or a number")
        return str.__str__(value) or None

    def _in_body(self, body: object) -> Any:
        if isinstance(body, _BYTES_LIKE):
            raise PublishError(f"{self.text} cannot be read from a body of bytes: give the key with the publish")
        value: Any = body
        for name in self.names:
            value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
            if value is None:
                return None
        return value


def parse_path(text: str) -> ValuePath:
    """The path of a text. Raises ValueError: it is none; the message shows two."""
    if not _PATH.fullmatch(text):
        raise ValueError(f"{text!r} names no value of a message; write header.tenant or body.user.id")
    place, _, rest = text.partition(".")
    return ValuePath(text, place == "header", (rest,) if place == "header" else tuple(rest.split(".")))


KEY = "key"
"""In place of a path: the order key of a message."""


@dataclass(frozen=True, slots=True)
class LaneRule:
    """How a queue with lanes finds the lane of a message; one without the value is in the lane ``''``."""

    path: ValuePath | None
    """None: the order key."""
    is_line: bool = False
    """Whether the queue keeps an order per key: the lane is what the driver has as ``key``, and nothing else."""

    @property
    def reads_body(self) -> bool:
        """Whether the lane is a value of the body."""
        return self.path is not None and not self.path.is_header

    def of(self, body: object, headers: Mapping[str, HeaderValue], key: str | None) -> str:
        """The lane of a message that is published. Raises PublishError: the value cannot be one."""
        if self.path is None:
            return key or ""
        if self.reads_body and isinstance(body, _BYTES_LIKE):
            problem = f"the queue has lanes by {self.path.text}, which cannot be read from a body of bytes"
            raise PublishError(f"{problem}: let it have lanes by a header, and publish the value in it")
        value = self.path.read(body, headers)
        return "" if value is None else check_name(f"the lane {self.path.text}", value)

    def of_sent_on(self, message: Outgoing, decode: Callable[[Message], Any]) -> str:
        """The lane of a message that was published before: a dead letter, a redrive.

        ``decode``: its body; called only for a lane that is a value of the body. A value that cannot be a lane, and a
        body that cannot be read, keep no message back: it is in the lane ``''``.
        """
        key = message.key
        if key is None and self.path is None and not self.is_line:
            kept = message.headers.get(PARTITION_KEY)
            key = kept if isinstance(kept, str) else None
        try:
            return self.of(decode(message) if self.reads_body else None, message.headers, key)
        except (PublishError, CodecError, InvalidBodyError):
            return ""


def parse_lane_key(text: str) -> ValuePath | None:
    """The path of a text; None: the order key. Raises ValueError: it is neither; the message shows them."""
    if text == KEY:
        return None
    try:
        return parse_path(text)
    except ValueError:
        raise ValueError(f"{text!r} names no value of a message; write header.tenant, body.user.id or key") from None
