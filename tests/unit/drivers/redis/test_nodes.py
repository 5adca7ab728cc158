"""How a command finds the node of its slot, in a cluster with a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tasuki.drivers.redis.connecting.addresses import Addresses, Login
from tasuki.drivers.redis.connecting.link import Link
from tasuki.drivers.redis.connecting.nodes import Nodes
from tasuki.drivers.redis.errors import LinkLostError, ReplyError
from tests.unit.drivers.redis.scripted import Answer, Scripted, array, scripted

pytestmark = pytest.mark.anyio

SLOT = 5


@asynccontextmanager
async def cluster(number: int = 2) -> AsyncIterator[tuple[Nodes, list[Scripted]]]:
    """Nodes of which the first has all slots."""

    async def on_link(link: Link) -> None:
        pass

    async with scripted(number) as servers:
        host, port = servers[0].address.host, servers[0].address.port

        def answer(words: list[bytes]) -> Answer:
            return array([0, 16383, [host, port]]) if words[0] == b"CLUSTER" else b"+first\r\n"

        servers[0].answer = answer
        settings = Addresses((servers[0].address,), Login(), is_cluster=True)
        nodes = Nodes(settings, connect_timeout=30.0, timeout=30.0, on_link=on_link)
        try:
            yield nodes, servers
        finally:
            nodes.close()
            await asyncio.sleep(0)


def redirecting(servers: list[Scripted], code: str) -> None:
    """The first node redirects requests to the second one, which takes them."""
    host, port = servers[1].address.host, servers[1].address.port
    mapped = servers[0].answer

    def answer(words: list[bytes]) -> Answer:
        return mapped(words) if words[0] == b"CLUSTER" else f"-{code} {SLOT} {host}:{port}\r\n".encode()

    servers[0].answer = answer
    servers[1].answer = lambda words: b"+OK\r\n" if words[0] == b"ASKING" else b"+second\r\n"


async def test_the_map_is_asked_for_once() -> None:
    async with cluster() as (nodes, servers):
        for _ in range(3):
            assert await nodes.call(SLOT, "GET", "a") == b"first"
        assert len(servers[0].heard(b"CLUSTER")) == 1
        assert not servers[1].came


async def test_a_slot_that_moved_is_remembered() -> None:
    async with cluster() as (nodes, servers):
        redirecting(servers, "MOVED")
        for _ in range(3):
            assert await nodes.call(SLOT, "GET", "a") == b"second"
        assert len(servers[0].heard(b"GET")) == 1, "only the first one went to the old node"


async def test_a_slot_on_its_way_is_asked_for_and_not_remembered() -> None:
    async with cluster() as (nodes, servers):
        redirecting(servers, "ASK")
        for _ in range(2):
            assert await nodes.call(SLOT, "GET", "a") == b"second"
        assert [words[0] for words in servers[1].came if words[0] != b"PING"] == [b"ASKING", b"GET"] * 2
        assert len(servers[0].heard(b"GET")) == 2


async def test_two_nodes_that_send_a_command_to_each_other_get_it_once_each() -> None:
    async with cluster() as (nodes, servers):
        redirecting(servers, "MOVED")
        host, port = servers[0].address.host, servers[0].address.port
        servers[1].answer = lambda words: f"-MOVED {SLOT} {host}:{port}\r\n".encode()
        with pytest.raises(ReplyError, match="TRYAGAIN"):
            await nodes.call(SLOT, "GET", "a")
        assert [len(one.heard(b"GET")) for one in servers] == [1, 1]


async def test_a_command_whose_answer_is_lost_is_not_sent_again() -> None:
    """It may have been carried out."""
    async with cluster() as (nodes, servers):
        mapped = servers[0].answer

        def answer(words: list[bytes]) -> Answer:
            if words[0] == b"GET":
                servers[0].writers[-1].close()
                return None
            return mapped(words)

        servers[0].answer = answer
        with pytest.raises(LinkLostError) as lost:
            await nodes.call(SLOT, "GET", "a")
        assert lost.value.is_sent
        assert [len(one.heard(b"GET")) for one in servers] == [1, 0]
