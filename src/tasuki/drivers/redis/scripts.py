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
    from tasuki.drivers.redis.link import Word
    from tasuki.drivers.redis.nodes import Nodes

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
    "ids",
    "consumers",
    "waiting",
]
_TRIES = 3


class Script:
    """One script: its text, and the hash by which the server knows it."""

    def __init__(self, name: str, *parts: str) -> None:
        folder = files("tasuki.drivers.redis") / "lua"
        self.text = "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in ("common", *parts, name))
        self.hash = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


DECLARE = Script("declare")
CONVERT = Script("convert", "conversion")
PUBLISH = Script("publish")
RECEIVE = Script("receive", "conversion")
RESIGN = Script("resign")
START = Script("start")
SETTLE = Script("settle")
LOSE = Script("lose")
EXTEND = Script("extend")
DEPTH = Script("depth")
PEEK = Script("peek", "held")
PURGE = Script("purge", "held")
ATTACH = Script("attach")
INSPECT = Script("inspect")
DELETE = Script("delete")


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


async def run(nodes: Nodes, where: Place, script: Script, arguments: Sequence[Word]) -> Any:
    """Run a script, and load it where the server does not know it: that it said so means that it did nothing."""
    for _ in range(_TRIES):
        try:
            return await nodes.call(where.slot, "EVALSHA", script.hash, len(where.keys), *where.keys, *arguments)
        except ReplyError as refusal:
            if refusal.code != "NOSCRIPT":
                raise
            missing = refusal
        await nodes.call(where.slot, "SCRIPT", "LOAD", script.text)
    raise missing
