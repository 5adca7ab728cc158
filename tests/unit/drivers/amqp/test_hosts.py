"""The nodes of a cluster in turn, and last those that did not answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.drivers.amqp.faults import ClosedError
from tasuki.drivers.amqp.protocol import connecting
from tasuki.drivers.amqp.settings import Endpoint

pytestmark = pytest.mark.anyio


class Nodes:
    """Nodes that answer, refuse or are silent; ``asked`` notes which were tried, in order."""

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.asked: list[str] = []

    async def connect(self, _: Endpoint, host: str, _port: int) -> Any:
        self.asked.append(host)
        if host in self.silent:
            await asyncio.Event().wait()
        return host

    async def host_of(self, found: connecting.Hosts) -> Any:
        return await found.connect()


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    nodes = Nodes()
    monkeypatch.setattr(connecting, "connect", nodes.connect)
    monkeypatch.setattr(connecting, "STAGGER", 0.01)
    return nodes


def three() -> connecting.Hosts:
    settings: Any = type("Endpoint", (), {"hosts": [("a", 1), ("b", 1), ("c", 1)]})()
    return connecting.Hosts(settings)


async def test_each_attempt_begins_with_the_next_node(nodes: Nodes) -> None:
    found = three()
    assert [await nodes.host_of(found) for _ in range(4)] == ["a", "b", "c", "a"]
    assert nodes.asked == ["a", "b", "c", "a"]


async def test_a_silent_node_is_tried_last_until_it_answers(nodes: Nodes) -> None:
    found = three()
    nodes.silent = {"a"}
    assert [await nodes.host_of(found) for _ in range(4)] == ["b", "c", "b", "c"]
    assert nodes.asked == ["a", "b", "c", "b", "c"]
    nodes.silent = {"b", "c"}
    assert await nodes.host_of(found) == "a"
    assert nodes.asked[5:] == ["b", "c", "a"]
    nodes.silent = set()
    assert [await nodes.host_of(found) for _ in range(2)] == ["a", "a"]


async def test_the_reason_of_the_last_node_where_none_answers(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_: Endpoint, host: str, _port: int) -> Any:
        raise ClosedError(0, f"{host} refused")

    monkeypatch.setattr(connecting, "connect", refuse)
    with pytest.raises(ClosedError, match="c refused"):
        await three().connect()
