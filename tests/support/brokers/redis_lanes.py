"""What a queue at Redis holds of its lanes, read as it is there: an index that must agree with the messages."""

from __future__ import annotations

import math
from typing import Any

from tasuki.drivers.redis.driver import RedisDriver

STEP = 2**49
PARTS = ("laned", "lanes", "turn", "park", "marks")
"""The keys that only queues with lanes have."""


class LanesSeen:
    """One reading. ``check`` compares the index with what it was made of."""

    def __init__(self, driver: RedisDriver, queue: str = "q") -> None:
        self._where = driver._session.place(queue)
        self._nodes = driver._session.nodes(queue)

    async def ask(self, command: str, part: str, *words: str | int) -> Any:
        """The answer to a command about one key of the queue."""
        key = self._where.keys[0].removesuffix(b"queue") + (part.encode() or b"queue")
        return await self._nodes.call(self._where.slot, command, key, *words)

    async def scores(self, part: str) -> dict[bytes, float]:
        """Members and scores of a sorted set."""
        found = await self.ask("ZRANGE", part, 0, -1, "WITHSCORES")
        return {member: float(score) for member, score in zip(found[::2], found[1::2], strict=True)}

    async def left(self) -> set[str]:
        """The keys of lanes that exist."""
        return {part for part in PARTS if await self.ask("EXISTS", part)}

    async def check(self) -> None:
        """Each ready message is in its lane, each lane with one has its turn or is parked; held ones are counted."""
        limits = ((await self.ask("HGET", "", "limits")) or b"").split()
        if not limits or limits[0] == b"0":
            assert await self.left() == set()
            return
        keyed = (await self.ask("HGET", "", "ordering")) == b"key"
        found = await self.ask("HGETALL", "keyed" if keyed else "laned")
        lanes = dict(zip(found[::2], found[1::2], strict=True))
        ready = set(await self.ask("ZRANGE", "ready", 0, -1))
        held = {receipt.partition(b":")[0] for receipt in await self.ask("ZRANGE", "leases", 0, -1)}
        wanted = {_member(lanes.get(place, b""), place) for place in ready}
        if limits[-1] != b"-":
            wanted |= {_member(lanes.get(place, b""), place, b"h") for place in held}
        assert await self.scores("lanes") == dict.fromkeys(wanted, 0.0)
        turn, park = set(await self.scores("turn")), set(await self.scores("park"))
        assert not turn & park
        assert turn | park == {lanes.get(place, b"") for place in ready}
        assert set(await self.ask("HKEYS", "laned")) <= set(await self.ask("HKEYS", "messages"))


def _member(lane: bytes, place: bytes, state: bytes = b"") -> bytes:
    number = int(place)
    priority = math.ceil(-number / STEP)
    return b"%b\0%b%d%016d" % (lane, state, 9 - priority, number + priority * STEP)
