"""Connections that only hear, at a server that answers, or does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.drivers.redis.connecting.sentinels import BEAT, Beats
from tasuki.drivers.redis.errors import LinkLostError, ReplyError

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

MANY = 80


class Server:
    """Notes what it is asked; ``is_silent``: it answers nothing. ``refuses``: no client may hear beats."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses
        self.links: list[Hearing] = []
        self.asked: list[str] = []
        self.is_silent = False

    def link(self) -> Hearing:
        self.links.append(Hearing(self))
        return self.links[-1]

    async def publish(self) -> None:
        self.asked.append("PUBLISH")
        await asyncio.sleep(0.01)  # the way there and back
        for link in self.links:
            if link.hears and not self.is_silent:
                link.heard_at = asyncio.get_running_loop().time()


class Hearing:
    """One connection, in the place of a Link."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.hears = self.is_lost = False
        self.heard_at = asyncio.get_running_loop().time()
        self.reason: Exception | None = None

    def call(self, *words: Any) -> asyncio.Future[Any]:
        answer = asyncio.get_running_loop().create_future()
        if self.server.refuses:
            answer.set_exception(ReplyError("NOPERM"))
        else:
            self.hears = True
            answer.set_result([])
        return answer

    def send(self, *words: Any) -> None:
        self.server.asked.append(words[0])
        if not self.server.is_silent:
            self.heard_at = asyncio.get_running_loop().time()

    def close(self, reason: Exception) -> None:
        self.is_lost, self.reason = True, reason


def kept(server: Server, number: int) -> list[Hearing]:
    """This number, each of another process."""
    links = [server.link() for _ in range(number)]
    for link in links:
        Beats(b"beats", server.publish).keep(link)  # type: ignore[arg-type]
    return links


async def test_one_beat_is_enough_for_all_connections() -> None:
    server = Server()
    links = kept(server, MANY)
    await asyncio.sleep(100 * BEAT)
    assert set(server.asked) == {"PUBLISH"}
    assert 100 <= len(server.asked) <= 160
    assert not any(link.is_lost for link in links)


@pytest.mark.parametrize("number", [1, MANY])
async def test_a_dead_connection_is_given_up_after_two_beats(number: int) -> None:
    server = Server()
    links = kept(server, number)
    await asyncio.sleep(3.1 * BEAT)
    heard_at, server.is_silent = links[0].heard_at, True
    loop = asyncio.get_running_loop()
    while not links[0].is_lost:
        await asyncio.sleep(0.01)
    assert loop.time() - heard_at == pytest.approx(2 * BEAT, abs=0.1)
    assert isinstance(links[0].reason, LinkLostError)
    assert links[0].reason.is_timeout


async def test_who_may_not_hear_beats_is_asked_and_stays() -> None:
    server = Server(refuses=True)
    links = kept(server, 2)
    await asyncio.sleep(20.5 * BEAT)
    assert server.asked == ["PING"] * 40
    assert not any(link.is_lost for link in links)


async def test_a_sentinel_that_is_asked_itself() -> None:
    server = Server()
    link = server.link()
    Beats().keep(link)  # type: ignore[arg-type]
    await asyncio.sleep(4.5 * BEAT)
    assert server.asked == ["PING"] * 4
    assert not link.is_lost
