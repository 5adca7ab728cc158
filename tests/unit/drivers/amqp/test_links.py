"""Over how many connections the queues are spread."""

from __future__ import annotations

from tasuki.drivers.amqp.protocol.connecting import first_with_room


def test_the_first_connection_with_room_is_taken_and_one_more_when_there_is_none() -> None:
    assert first_with_room([0], 1, 2) == 0
    assert first_with_room([2, 1], 1, 2) == 1
    assert first_with_room([1, 2], 1, 2) == 0
    assert first_with_room([1, 0], 2, 2) == 1
    assert first_with_room([2, 2], 1, 2) == 2
    assert first_with_room([0], 2, 1) == 0, "the broker then says what is missing"
