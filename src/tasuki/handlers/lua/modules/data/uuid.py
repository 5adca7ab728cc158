"""uuid: making and reading UUIDs. See uuid.lua for the functions of scripts.

==================  ===========================  ===================================================
operation           arguments                    returns
==================  ===========================  ===================================================
``uuid.new``        v1, v4 or v7                 text
``uuid.named``      v3 or v5, namespace, name    text; Invalid for a bad namespace
``uuid.validate``   text                         boolean
``uuid.version``    text                         number; Invalid for a text that is no UUID (all below)
``uuid.variant``    text                         RFC4122, Reserved, Microsoft, Future or NCS
``uuid.parse``      text                         version, variant, timestamp and node where there is one
``uuid.format``     text, form                   text in the form standard, simple or urn
==================  ===========================  ===================================================
"""

from __future__ import annotations

import hashlib
import re
import uuid as stdlib
from typing import Any

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tasuki.message import new_id

NAME = "uuid"
_DASHED = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_UUID = re.compile(rf"{_DASHED}|urn:uuid:{_DASHED}|\{{{_DASHED}\}}|[0-9a-f]{{32}}", re.IGNORECASE)
_VARIANTS = {
    stdlib.RESERVED_NCS: "NCS",
    stdlib.RFC_4122: "RFC4122",
    stdlib.RESERVED_MICROSOFT: "Microsoft",
    stdlib.RESERVED_FUTURE: "Future",
}
_GREGORIAN = 0x01B21DD213814000
"""100 ns steps from 1582-10-15, where the clock of version 1 starts, to 1970-01-01."""


def _invalid(message: str) -> HandlerError:
    return HandlerError(message, kind="Invalid", retryable=False)


def _read(text: str) -> stdlib.UUID:
    if not _UUID.fullmatch(text):
        raise _invalid("invalid UUID format")
    return stdlib.UUID(text)


def new(_: Context, version: str) -> str:
    """A new UUID."""
    if version == "v7":
        return new_id()
    return str(stdlib.uuid1() if version == "v1" else stdlib.uuid4())


def named(_: Context, version: str, namespace: str | bytes, name: str | bytes) -> str:
    """The UUID of a name (any bytes) within a namespace."""
    if isinstance(namespace, bytes) or not _UUID.fullmatch(namespace):
        raise _invalid("invalid namespace UUID")
    hashed = hashlib.md5 if version == "v3" else hashlib.sha1
    data = name if isinstance(name, bytes) else name.encode()
    digest = hashed(stdlib.UUID(namespace).bytes + data, usedforsecurity=False).digest()
    return str(stdlib.UUID(bytes=digest[:16], version=int(version[1])))


def validate(_: Context, text: str) -> bool:
    """Whether a text is a UUID in any of its four forms."""
    return _UUID.fullmatch(text) is not None


def _version(value: stdlib.UUID) -> int:
    return value.bytes[6] >> 4


def version(_: Context, text: str) -> int:
    """The version digit."""
    return _version(_read(text))


def variant(_: Context, text: str) -> str:
    """The name of the variant."""
    return _VARIANTS[_read(text).variant]


def parse(_: Context, text: str) -> dict[str, Any]:
    """The parts of a UUID; ``timestamp`` (seconds) for versions 1 and 7, ``node`` (six bytes) for version 1."""
    value = _read(text)
    number = _version(value)
    parts: dict[str, Any] = {"version": number, "variant": _VARIANTS[value.variant]}
    if number == 1:
        parts["timestamp"] = (value.time - _GREGORIAN) // 10_000_000
        parts["node"] = value.bytes[10:]
    elif number == 7:
        parts["timestamp"] = int.from_bytes(value.bytes[:6], "big") // 1000
    return parts


def form(_: Context, text: str, form: str) -> str:
    """A UUID in another form."""
    value = _read(text)
    forms = {"standard": str(value), "simple": value.hex, "urn": value.urn}
    if form not in forms:
        raise _invalid("unsupported format")
    return forms[form]


OPERATIONS = {
    "uuid.new": new,
    "uuid.named": named,
    "uuid.validate": validate,
    "uuid.version": version,
    "uuid.variant": variant,
    "uuid.parse": parse,
    "uuid.format": form,
}
