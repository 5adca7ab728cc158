"""The Lua scripts, fixed texts beside this file, and the keys of a queue that they may touch."""

from __future__ import annotations

import hashlib
from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.redis.errors import ReplyError

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.link import Word
    from tasuki.drivers.redis.connecting.nodes import Nodes

_SLOTS = 16384
_KEYS = [
    "messages",
    "ready",
    "delayed",
    "leases",
    "attempts",
    "keyed",
    "lines",
    "fronts",
    "errors",
    "ids",
    "consumers",
    "waiting",
]
_TRIES = 3
_FILES = {file.name: file for folder in (files("tasuki.drivers.redis") / "lua").iterdir() for file in folder.iterdir()}
"""By name: a folder has the files of one duty."""


def _text(*parts: str) -> str:
    return "\n".join(_FILES[f"{part}.lua"].read_text("utf-8") for part in parts)


class Script:
    """One script: its text, joined from files of ``lua``, and the hash by which the server knows it."""

    def __init__(self, *parts: str) -> None:
        self._set(_text("queue", *parts))

    @classmethod
    def joined(cls, last: str, **functions: Script) -> Script:
        """The script of one file, which can call others as functions of their KEYS and ARGV."""
        made = cls()
        wrapped = [f"local function {name}(KEYS, ARGV)\n{script.text}\nend" for name, script in functions.items()]
        made._set("\n".join((*wrapped, _text(last))))
        return made

    def _set(self, text: str) -> None:
        self.text = text
        self.hash = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


_WATCH = ("wake", "watch")
_SWEEP = ("lines", "history", "sweep")

DECLARE = Script("maxmemory", "declare")
CONVERT = Script("maxmemory", *_WATCH, "lines", "conversion", "convert")
PUBLISH = Script("wake", "publish", "maxmemory", "watch", "lines", "publish_options")
RECEIVE = Script("receive", "maxmemory", *_WATCH, *_SWEEP, "conversion", "receive_general")
RESIGN = Script(*_WATCH, *_SWEEP, "resign")
START = Script("maxmemory", "history", "start")
SETTLE = Script("settle", *_WATCH, "lines", "history", "settle_general")
MOVE = Script.joined("move", publish=PUBLISH, settle=SETTLE)
LOSE = Script(*_WATCH, *_SWEEP, "lose")
EXTEND = Script("maxmemory", "extend")
DEPTH = Script(*_WATCH, *_SWEEP, "depth")
PEEK = Script(*_WATCH, *_SWEEP, "held", "peek")
PURGE = Script(*_WATCH, *_SWEEP, "held", "take_out", "purge")
REMOVE = Script(*_WATCH, *_SWEEP, "held", "take_out", "remove")
ATTACH = Script("attach")
INSPECT = Script("inspect")
DELETE = Script("wake", "delete")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a queue is: its keys, which share one hash slot, and the options it was declared with."""

    spec: QueueSpec
    keys: tuple[bytes, ...]
    slot: int
    is_inspected: bool = False
    """Never made or changed by this driver."""

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.spec.name

    @property
    def channel(self) -> bytes:
        """Where its news is published; named like its first key."""
        return self.keys[0]


def place(prefix: str, spec: QueueSpec) -> Place:
    """The place of a queue. Braces in names are written otherwise: they would end the hash tag."""
    tag = f"{prefix}:{spec.name}".replace("%", "%25").replace("{", "%7B").replace("}", "%7D").encode()
    keys = (b"{%b}" % tag, *(b"{%b}:%b" % (tag, part.encode()) for part in _KEYS))
    return Place(spec, keys, crc_hqx(tag, 0) % _SLOTS)


async def run(
    nodes: Nodes, where: Place, script: Script, arguments: Sequence[Word], more_keys: Sequence[bytes] = ()
) -> Any:
    """Run a script, and load it where the server does not know it: that it said so means that it did nothing.

    ``more_keys``: of another queue, in the same slot or at the only server.
    """
    keys = (*where.keys, *more_keys)
    for _ in range(_TRIES):
        try:
            return await nodes.call(where.slot, "EVALSHA", script.hash, len(keys), *keys, *arguments)
        except ReplyError as refusal:
            if refusal.code != "NOSCRIPT":
                raise
            missing = refusal
        await nodes.call(where.slot, "SCRIPT", "LOAD", script.text)
    raise missing
