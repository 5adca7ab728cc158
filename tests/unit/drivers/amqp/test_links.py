"""Over how many connections the queues are spread."""

from __future__ import annotations

from tasuki.drivers.amqp.links import first_with_room, room_for_queues


def test_a_connection_consumes_what_its_channels_allow() -> None:
    assert room_for_queues(2047, 32) == 671
    assert room_for_queues(5, 1) == 1
    assert room_for_queues(1, 1) == 1, "the broker then says what is missing"


def test_the_first_connection_with_room_is_taken_and_one_more_when_there_is_none() -> None:
    assert first_with_room([0], 2) == 0
    assert first_with_room([2, 1], 2) == 1
    assert first_with_room([1, 2], 2) == 0
    assert first_with_room([2, 2], 2) == 2
