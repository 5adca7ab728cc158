"""The Lua scripts, fixed texts beside this file, and the keys of a queue that they may touch."""

from __future__ import annotations

import asyncio
import hashlib
from binascii import crc_hqx
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.redis.durability_wait import demand
from tasuki.drivers.redis.errors import LinkLostError, ReplyError

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.link import Word
    from tasuki.drivers.redis.connecting.nodes import Nodes

SLOTS = 16384
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
    "uniques",
    "laned",
    "lanes",
    "turn",
    "park",
    "marks",
    "ids",
    "waiting",
]
_STATE = "queue"
TIMED = 2
"""The last keys of a queue, which have a time of their own."""
_TRIES = 2
_QUEUES = 250
"""Most queues of one script: however many there are, it is soon over."""
_FILES = {file.name: file for folder in (files("tasuki.drivers.redis") / "lua").iterdir() for file in folder.iterdir()}
"""By name: a folder has the files of one duty."""


def _text(*parts: str) -> str:
    return "\n".join(_FILES[f"{part}.lua"].read_text("utf-8") for part in parts)


class Script:
    """One script: its text, joined from files of ``lua``, and the hash by which the server knows it."""

    def __init__(self, *parts: str) -> None:
        self._indexes: Sequence[int] | None = None
        self._set(_text("queue", *parts))

    @classmethod
    def joined(cls, last: str, **functions: Script) -> Script:
        """The script of one file, which can call others as functions of their KEYS and ARGV."""
        made = cls()
        wrapped = [f"local function {name}(KEYS, ARGV)\n{script.text}\nend" for name, script in functions.items()]
        made._set("\n".join((f"local SIZE = {1 + len(_KEYS)}  -- keys of a queue", *wrapped, _text(last))))
        return made

    @classmethod
    def about(cls, keys: Sequence[str], *parts: str) -> Script:
        """A script for several queues, which gets these keys of each, and nothing of ``queue.lua``."""
        made = cls()
        made._indexes = [0, *(_KEYS.index(key) + 1 for key in keys)]
        made._set(_text(*parts))
        return made

    def keys_of(self, where: Place) -> Sequence[bytes]:
        """Its keys of a queue."""
        return where.keys if self._indexes is None else [where.keys[index] for index in self._indexes]

    def _set(self, text: str) -> None:
        self.text = text
        self.hash = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


_LIMITS = ("limits", "watch")
_WATCH = ("wake", "turn", *_LIMITS)
_LINES = ("lanes", "lines")
_SWEEP = (*_LINES, "history", "sweep")
_CONVERSION = ("laning", "conversion")
_SWEPT = (*_WATCH, *_SWEEP, "swept")

DECLARE = Script("maxmemory", "wake", "turn", "limits", "changing", "declare")
CONVERT = Script("maxmemory", *_WATCH, *_LINES, *_CONVERSION, "convert")
PUBLISH = Script("wake", "publish", "turn", "publish_lane", "maxmemory", *_LIMITS, *_LINES, "publish_options")
PUBLISH_UNIQUE = Script("maxmemory", *_WATCH, *_LINES, "history", "held", "publish_unique")
RECEIVE = Script(
    *("silence", "receive", "turn", "take_one", "maxmemory", "wake", *_LIMITS, *_SWEEP, "silent", "strays"),
    *(*_CONVERSION, "take_limited", "pace", "receive_general"),
)
CHECK = Script.about(["ready", "delayed", "leases", "waiting"], "silence", "pace", "check")
RESIGN = Script(*_WATCH, *_SWEEP, "resign")
START = Script("maxmemory", "history", "start")
SETTLE = Script("settle", "turn", "settle_one", "wake", *_LIMITS, *_LINES, "history", "settle_general")
MOVE = Script.joined("move", publish=PUBLISH, settle=SETTLE)
LOSE = Script(*_WATCH, *_SWEEP, "lose")
EXTEND = Script("maxmemory", "extend")
DEPTH = Script(*_SWEPT, "depth")
PEEK = Script(*_SWEPT, "held", "looks", "peek")
PURGE = Script(*_SWEPT, "held", "take_out", "purge")
REMOVE = Script(*_SWEPT, "held", "take_out", "remove")
EXPEDITE = Script(*_SWEPT, "expedite")
SHOW = Script("lines", "looks", "show")
FIND = Script(*_SWEPT, "held", "find")
TRANSFER = Script.joined("transfer", publish=PUBLISH, leave=Script(*_SWEPT, "held", "take_out", "leave"))
KEEP = Script.about(_KEYS[:-TIMED], "keep")
KEPT_KEYS = 1 + len(_KEYS) - TIMED
"""Keys of a queue that the script has."""
INSPECT = Script("inspect")
DELETE = Script("wake", "delete")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a queue is: its keys, which share one hash slot, and the options it was declared with."""

    spec: QueueSpec
    keys: tuple[bytes, ...]
    slot: int
    waits: bool
    """Whether its publishers wait for the disk, or for replicas."""

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.spec.name

    @property
    def channel(self) -> bytes:
        """Where its news is published; named like its first key."""
        return self.keys[0]


def tag_of(prefix: str, name: str) -> bytes:
    """The text between the braces of a key. Braces in names are written otherwise: they would end it."""
    return f"{prefix}:{name}".replace("%", "%25").replace("{", "%7B").replace("}", "%7D").encode()


def place(prefix: str, spec: QueueSpec) -> Place:
    """The place of a queue."""
    tag = tag_of(prefix, spec.name)
    keys = tuple(b"{%b}:%b" % (tag, part.encode()) for part in (_STATE, *_KEYS))
    return Place(spec, keys, crc_hqx(tag, 0) % SLOTS, bool(demand(spec)))


async def run_for_each(
    nodes: Nodes,
    script: Script,
    shared: Sequence[Word],
    asked: Sequence[tuple[Place, Sequence[Word]]],
    *,
    is_cluster: bool,
) -> list[Any]:
    """A script's answers about many queues, in their order; a LinkLostError or ReplyError in the place of one.

    ``asked``: the queues, each with words of its own. All slots are asked at once: a silent server delays no other.
    """
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for index, (where, _) in enumerate(asked):
        groups[where.slot if is_cluster else 0].append(index)
    answers: dict[int, Any] = {}

    async def ask(part: Sequence[int]) -> Sequence[Any]:
        keys = [key for index in part for key in script.keys_of(asked[index][0])]
        words = [word for index in part for word in asked[index][1]]
        try:
            found: Sequence[Any] = await run(nodes, asked[part[0]][0].slot, script, keys, (*shared, *words))
        except (LinkLostError, ReplyError) as problem:
            found = [problem] * len(part)
        return found

    async def ask_slot(indexes: Sequence[int]) -> None:
        for start in range(0, len(indexes), _QUEUES):
            part = indexes[start : start + _QUEUES]
            answers.update(zip(part, await ask(part), strict=True))

    await asyncio.gather(*(ask_slot(indexes) for indexes in groups.values()))
    return [answers[index] for index in range(len(asked))]


async def run(nodes: Nodes, slot: int, script: Script, keys: Sequence[bytes], arguments: Sequence[Word]) -> Any:
    """Run a script, and load it where the server does not know it: that it said so means that it did nothing.

    While a slot moves, the script goes to another node than the one that has the slot, and its text has to go with it.
    """
    words = (len(keys), *keys, *arguments)
    for _ in range(_TRIES):
        try:
            return await nodes.call(slot, "EVALSHA", script.hash, *words)
        except ReplyError as refusal:
            if refusal.code != "NOSCRIPT":
                raise
        await nodes.call(slot, "SCRIPT", "LOAD", script.text)
    return await nodes.call(slot, "EVAL", script.text, *words)
