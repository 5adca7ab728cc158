from __future__ import annotations

import asyncio
from math import inf
from typing import Any

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.redis.connecting.sentinels import Beats
from tasuki.drivers.redis.listening import Listener, Waiters
from tasuki.drivers.redis.scripts import place

pytestmark = pytest.mark.anyio


class Silent:
    """The connections and the one connection of a server that does not answer."""

    is_lost = False
    heard_at = inf

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def server(self, slot: int) -> str:
        return "server"

    async def link(self, slot: int) -> Silent:
        return self

    listener = link

    def send(self, *words: Any) -> None:
        self.sent.append(words[0])


async def test_leaving_a_queue_ends_the_wait_for_its_subscription() -> None:
    server, where = Silent(), place("p", QueueSpec("q"))
    listener = Listener(server, "owner", 600.0, Waiters(lambda _: None, lambda _: None), Beats())  # type: ignore[arg-type]
    waits = asyncio.create_task(listener.listen(where))
    async with asyncio.timeout(5):
        while not server.sent:
            await asyncio.sleep(0)
        assert listener.leave(where)
        await waits
    assert server.sent == ["SUBSCRIBE", "UNSUBSCRIBE"]
    assert not listener.hears(where)
