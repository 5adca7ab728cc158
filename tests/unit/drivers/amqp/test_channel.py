"""A channel that ends, without a broker."""

from __future__ import annotations

import asyncio
from asyncio import Transport
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from pamqp import commands
from pamqp import frame as pamqp_frame

from tasuki.drivers.amqp.faults import ClosedError
from tasuki.drivers.amqp.protocol import frames
from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.protocol.connection import Connection

pytestmark = pytest.mark.anyio


def channel_and_sent() -> tuple[Channel, list[Any]]:
    sent: list[Any] = []
    connection: Any = SimpleNamespace(
        is_writable=True,
        settings=SimpleNamespace(request_timeout=30.0),
        send=lambda number, *methods: sent.extend(methods),
        unanswered=lambda: None,
        forget=lambda channel: sent.append("forgotten"),
    )
    return Channel(connection, 1), sent


def came(channel: Channel, method: Any) -> None:
    channel.received(frames.METHOD, pamqp_frame.marshal(method, 1)[7:-1])


async def test_nothing_is_sent_on_a_channel_that_is_about_to_close() -> None:
    """The broker ends the whole connection for it, and with it the deliveries of all queues."""
    channel, sent = channel_and_sent()
    before = asyncio.create_task(channel.ask(commands.Basic.Qos(prefetch_count=1)))
    await asyncio.sleep(0)
    closing = asyncio.create_task(channel.close())
    await asyncio.sleep(0)
    assert not channel.is_alive
    with pytest.raises(ClosedError):
        await channel.ask(commands.Basic.Qos(prefetch_count=2))
    await channel.close()
    assert [type(method) for method in sent] == [commands.Basic.Qos, commands.Channel.Close]
    came(channel, commands.Basic.QosOk())
    came(channel, commands.Channel.CloseOk())
    await closing
    assert len(await before) == 1, "what was asked before is answered"
    assert sent[-1] == "forgotten"


async def test_a_close_that_the_end_of_the_connection_overtakes() -> None:
    channel, _ = channel_and_sent()
    ends: list[ClosedError] = []
    channel.on_end = ends.append
    closing = asyncio.create_task(channel.close())
    await asyncio.sleep(0)
    channel.end(ClosedError(0, "connection lost"))
    await closing
    assert [end.text for end in ends] == ["connection lost"]
    with pytest.raises(ClosedError, match="connection lost"):
        await channel.ask(commands.Basic.Qos(prefetch_count=1))


async def test_one_that_ends_before_anybody_could_be_told_is_not_handed_out() -> None:
    settings: Any = SimpleNamespace(request_timeout=30.0, heartbeat=0)
    connection = Connection(settings)
    connection.connection_made(Mock(Transport))
    opening = asyncio.create_task(connection.open_channel())
    await asyncio.sleep(0)
    connection.data_received(pamqp_frame.marshal(commands.Channel.OpenOk(), 1))
    connection.connection_lost(None)
    with pytest.raises(ClosedError, match="the broker closed the connection"):
        await opening
