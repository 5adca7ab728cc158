"""Functions from bytes to nothing, each of which raises only for a defect."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasuki.errors import CodecError, ConfigError, HandlerError, ProjectError
from tasuki.handlers.lua import LuaHandler, LuaSource
from tasuki.handlers.lua.types import strip
from tasuki.kinds.project import check
from tasuki.message import Message
from tasuki.queues.codec import JsonCodec, MsgpackCodec
from tasuki.registry.loader import load
from tasuki.security.pattern import parse_pattern
from tasuki.testing.context import RecordingContext
from tests.properties.test_policies import ref_matches

_ECHO = "return function(value) return value end"


def loader(data: bytes) -> None:
    """A file of these bytes is a project, or errors that each have a place."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "p.yaml").write_bytes(b"namespace: app\n" + data)
        problems: list[ConfigError] = []
        try:
            check(load(Path(folder), environ={}))
        except ProjectError as error:
            problems = error.errors
        assert all(problem.position and str(problem) for problem in problems)


def _codec(codec: JsonCodec | MsgpackCodec, data: bytes) -> None:
    try:
        value = codec.decoder()(data)
        again = codec.encode(value)
    except (CodecError, HandlerError):
        return
    assert codec.encode(codec.decoder()(again)) == again


def json(data: bytes) -> None:
    """These bytes are a value that is written and read as the same, or a CodecError."""
    _codec(JsonCodec(), data)


def msgpack(data: bytes) -> None:
    """The same for MessagePack."""
    _codec(MsgpackCodec(), data)


def pattern(data: bytes) -> None:
    """A policy's pattern matches what the slow reference says, or is refused."""
    text, _, value = data.decode("utf-8", "replace").partition("\n")
    try:
        parsed = parse_pattern(text)
    except ValueError:
        return
    assert parsed.matches(value) == ref_matches(text, value)


def stripper(data: bytes) -> None:
    """What is stripped keeps its lines."""
    source = data.decode("utf-8", "replace")
    assert strip(source).count("\n") == source.count("\n")


def lua(data: bytes) -> None:
    """A JSON value comes back from Lua as it went in, or is refused."""
    try:
        value = JsonCodec().decoder()(data)
    except (CodecError, HandlerError):
        return
    handler = LuaHandler("app:echo", source=LuaSource(_ECHO, "echo.lua"))
    context = RecordingContext(Message("1", b"", {}))
    try:
        back = asyncio.run(handler.call([value], context))
    except HandlerError:
        return
    assert _has_none(value) or back == value


def _has_none(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(_has_none, items))


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (loader, json, msgpack, pattern, stripper, lua)
}
