"""What the server pushes to a watch."""

from __future__ import annotations

import pytest

from tasuki.drivers.nats.state.watch_connection import Beat, Push, read_beat, read_push


@pytest.mark.parametrize("before", ["$JS.ACK", "$JS.ACK.hub.AB12"])
def test_a_delivery(before: str) -> None:
    reply = f"{before}.tasuki+=store+state.c1.1.42.3.1700000000500000000.7"
    push = read_push(b"tasuki.s.state.e.key", reply.encode(), b"value", None)
    assert push == Push("c1", "tasuki.s.state.e.key", 3, 42, 1700000000.5, 7, None, b"value")


def test_a_delivery_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(ValueError, match="unpack"):
        read_push(b"subject", b"$JS.ACK.stream.consumer", b"", None)


def test_signs_of_life() -> None:
    idle = b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 5\r\nNats-Last-Stream: 9\r\n\r\n"
    assert read_beat(b"inbox", b"", idle) == Beat("inbox", 5, "")
    stalled = idle.removesuffix(b"\r\n") + b"Nats-Consumer-Stalled: $JS.FC.x\r\n\r\n"
    assert read_beat(b"inbox", b"", stalled) == Beat("inbox", 5, "$JS.FC.x")
    asked = b"NATS/1.0 100 FlowControl Request\r\n\r\n"
    assert read_beat(b"inbox", b"$JS.FC.y", asked) == Beat("inbox", None, "$JS.FC.y")
