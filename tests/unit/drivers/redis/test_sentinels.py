"""Which server the Sentinels say is the master, by Sentinels with a script."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.drivers.redis.connecting import sentinels
from tasuki.drivers.redis.connecting.addresses import Addresses, Login
from tasuki.drivers.redis.connecting.link import Link, connect
from tasuki.drivers.redis.connecting.sentinels import FailoverWatch, master_of
from tasuki.drivers.redis.errors import LinkLostError, ReplyError
from tasuki.drivers.redis.settings import Server
from tests.unit.drivers.redis.scripted import Answer, Scripted, array, scripted

pytestmark = pytest.mark.anyio


async def linked(server: Server) -> Link:
    return await connect(Link(server, 30.0), Login(), 30.0)


def knows(one: Scripted, port: int, epoch: int) -> None:
    """It says that the master is at this port, since this epoch."""

    def answer(words: list[bytes]) -> Answer:
        if words[1] == b"GET-MASTER-ADDR-BY-NAME":
            return array("10.0.0.1", str(port))
        return array("name", "main", "config-epoch", str(epoch))

    one.answer = answer


def watching(servers: list[Scripted]) -> Addresses:
    return Addresses(tuple(one.address for one in servers), Login(), master="main")


@pytest.mark.parametrize("newest", [0, 1, 2])
async def test_the_newest_configuration_counts_wherever_it_stands(newest: int) -> None:
    """A Sentinel that was cut off names the master of before, and may be the first in the list."""
    async with scripted(3) as servers:
        for number, one in enumerate(servers):
            knows(one, 1000 + number, 9 if number == newest else 3)
        assert await master_of(watching(servers), linked) == Server("10.0.0.1", 1000 + newest)
        assert all(one.came for one in servers)


async def test_a_frozen_one_delays_nothing_but_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentinels, "STRAGGLERS", 0.01)
    async with scripted(2) as servers:
        servers[0].answer = lambda words: None
        knows(servers[1], 1001, 1)
        async with asyncio.timeout(25):  # the frozen one's own limit is 30 s
            assert await master_of(watching(servers), linked) == Server("10.0.0.1", 1001)


@pytest.mark.parametrize(
    ("answer", "error"),
    [(b"*-1\r\n", LinkLostError), (b"-NOAUTH no\r\n", ReplyError), (b"!nonsense\r\n", LinkLostError)],
)
async def test_one_that_knows_nothing_is_passed_over_and_all_of_them_are_an_error(
    answer: bytes, error: type[Exception]
) -> None:
    async with scripted(2) as servers:
        servers[0].answer = lambda words: answer
        knows(servers[1], 1001, 1)
        assert await master_of(watching(servers), linked) == Server("10.0.0.1", 1001)
        with pytest.raises(error):
            await master_of(watching(servers[:1]), linked)


async def test_one_that_refuses_details_is_believed_where_no_other_says_more() -> None:
    async with scripted(1) as servers:
        servers[0].answer = lambda words: (
            array("10.0.0.1", "7") if words[1] == b"GET-MASTER-ADDR-BY-NAME" else b"-NOPERM no\r\n"
        )
        assert await master_of(watching(servers), linked) == Server("10.0.0.1", 7)


async def test_news_of_a_failover_name_the_old_master_and_others_change_nothing() -> None:
    """A frozen primary cannot say that it is none any more."""
    left: list[Server] = []
    subscribed = asyncio.Event()
    async with scripted(1) as servers:

        def answer(words: list[bytes]) -> Answer:
            subscribed.set()
            return array("subscribe", "+switch-master", 1)

        servers[0].answer = answer
        watch = FailoverWatch(watching(servers), linked, left.append)
        try:
            await subscribed.wait()
            for news in ("other 10.0.0.9 1 10.0.0.8 2", "main 10.0.0.1 6379 10.0.0.2 6380"):
                servers[0].writers[-1].write(array("message", "+switch-master", news))
            async with asyncio.timeout(30):
                while not left:
                    await asyncio.sleep(0)
        finally:
            watch.close()
    assert left == [Server("10.0.0.1", 6379)]
