"""ValuePath: names one value of a message, as in ``header.tenant`` or ``body.user.id``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasuki.errors import PublishError
from tasuki.message import HeaderValue

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
