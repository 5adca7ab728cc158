"""A child process as an attacker might use it who has escaped from the script's sandbox."""

from __future__ import annotations

import os
import resource
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

from tasuki.handlers.process.confine import confine
from tasuki.handlers.process.failure import PlainFailure, failure_of
from tasuki.handlers.process.protocol import ASK, COST, FORGET, PROOF, READY, RESULT, encode, frame
from tasuki.handlers.process.server import Asker, Server

_LIMITS = ("RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_FSIZE", "RLIMIT_CORE")
_BOMB = b"\xdd" + struct.pack(">I", 2**25) + b"\x80" * 2**25


def _ask(call: int, operation: str, *args: Any) -> bytes:
    return frame(ASK, 1, encode((call, operation, args, 0.0)))


ACTS: dict[str, Callable[[int], bytes]] = {
    "garbage": lambda call: os.urandom(4096) + b"\xff" * 4096,
    "a frame of an unknown kind": lambda call: frame(99, call),
    "a frame of the worker's": lambda call: frame(1, 0, encode("boot")),
    "a frame without end": lambda call: struct.pack("<IBI", 2**32 - 1, RESULT, call) + b"x" * 2**20,
    "a flood": lambda call: frame(RESULT, 12345, b"x" * 1000) * 20_000,
    "a result of another call": lambda call: frame(RESULT, call + 1, encode(1)),
    "a result that is cut": lambda call: frame(RESULT, call, b"\xdd\xff\xff\xff\xff"),
    "a result of many small parts": lambda call: frame(RESULT, call, _BOMB[: 20 * 2**20]),
    "a result nested without end": lambda call: frame(RESULT, call, b"\x91" * 100_000 + b"\x01"),
    "an unknown extension": lambda call: frame(RESULT, call, b"\xd4\x63\x00"),
    "a failure of another shape": lambda call: frame(RESULT + 1, call, encode({"message": "x"})),
    "ready once more": lambda call: frame(READY, 0, encode([])),
    "an operation that there is not": lambda call: _ask(call, "os.execute", "true"),
    "an operation of the script's own side": lambda call: _ask(call, "json.decode", "[]"),
    "a queue that is no text": lambda call: _ask(call, "queue.publish", {"a": 1}, 1),
    "a question without values": lambda call: _ask(call, "queue.publish"),
    "a question of another call": lambda call: _ask(call + 1, "queue.stopping"),
    "one ticket for two questions": lambda call: _ask(call, "funcs.call", "app:never") * 2,
    "questions and no ears": lambda call: b"".join(
        frame(ASK, ticket, encode((call, "queue.message", (), 0.0))) for ticket in range(1, 200_001)
    ),
    "a cost below nothing": lambda call: frame(COST, call, encode(-1.0)),
    "a cost that is no number": lambda call: frame(COST, call, encode(float("nan"))),
    "a question that costs forever": lambda call: frame(ASK, 1, encode((call, "queue.stopping", (), float("inf")))),
    "spin": lambda call: b"",
    "lie": lambda call: b"",
}


def _slow(call: int, count: int, value: bytes, *, is_forgotten: bool = False) -> bytes:
    """Questions with this value, already encoded, that are not answered for long."""
    head = b"\x94" + encode(call) + encode("funcs.call") + b"\x93" + encode("app:slow") + encode(None)
    frames = []
    for ticket in range(2, count + 2):
        frames.append(frame(ASK, ticket, head + value + encode(0.0)))
        if is_forgotten and ticket > 2:
            frames.append(frame(FORGET, ticket - 1))
    return b"".join(frames)


HEAVY: dict[str, Callable[[int], bytes]] = {
    "large questions": lambda call: _slow(call, 40, encode(b"x" * 2**18)),
    "large questions taken back": lambda call: _slow(call, 40, encode(b"x" * 2**18), is_forgotten=True),
    "questions of small parts": lambda call: _slow(call, 10, b"\xdd" + struct.pack(">I", 2**19) + b"\x90" * 2**19),
}


class HostileSite:
    """Does what its recipe says when it is called, unless it is asked for something good."""

    def __init__(self) -> None:
        self._act = ""
        self._server: Any = None

    async def boot(self, server: Server, recipe: Any) -> Any:
        confine(32 * 2**20, strangers=True)
        self._act, self._server = recipe, server
        if recipe == "leave":
            server._loop.call_later(0.01, os._exit, 3)  # READY is sent before
        return []

    async def treat(self, asker: Asker, circumstances: Any, value: Any, *, is_call: bool) -> Any:
        if value == ["good"]:
            return "good"
        if value == ["look around"]:
            return _look_around()
        end = self._server._channel._end
        end.setblocking(True)
        end.sendall((ACTS | HEAVY)[self._act](asker.call))
        while self._act in ("spin", "lie"):
            if self._act == "lie":  # says that it comes to the end of one step after another
                end.sendall(frame(PROOF, 0))
                _compute(0.01)
        end.setblocking(False)
        return await asker.ask("time.sleep", 1000)

    def failure(self, error: BaseException) -> PlainFailure:
        return failure_of(error)


def _compute(seconds: float) -> None:
    ends_at = time.process_time() + seconds
    while time.process_time() < ends_at:
        pass


def _attempt(what: Callable[[], Any]) -> str:
    try:
        what()
    except Exception as error:
        return type(error).__name__
    return "done"


def _write() -> None:
    with open("/tmp/tasuki-child", "wb") as file:
        file.write(b"x")


def _look_around() -> dict[str, Any]:
    told = {
        "environment": sorted(os.environ),
        "folder": os.getcwd(),
        "descriptors": len(os.listdir("/proc/self/fd")) - 1 if sys.platform == "linux" else 0,
        "limits": {name: resource.getrlimit(getattr(resource, name))[0] for name in _LIMITS},
        "write": _attempt(_write),
        "memory": _attempt(lambda: bytearray(300 * 2**20)),
    }
    if sys.platform == "linux":
        with open("/proc/self/status") as file:
            told["no_new_privs"] = next(line.split()[1] for line in file if line.startswith("NoNewPrivs"))
    return told
