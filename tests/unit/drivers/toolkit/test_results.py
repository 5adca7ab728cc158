from __future__ import annotations

import pytest

from tasuki.drivers.toolkit.results import answer, stored_in_order
from tasuki.errors import BrokerUnavailableError, DriverError, QueueFullError


def full() -> DriverError:
    return QueueFullError("full")


def test_the_common_case_has_no_results() -> None:
    assert answer([]) == ()
    assert answer([None, None]) == ()


@pytest.mark.parametrize("number", [1, 3])
def test_a_fate_that_all_messages_share_is_raised(number: int) -> None:
    errors = [full() for _ in range(number)]
    with pytest.raises(QueueFullError) as caught:
        answer(errors)
    assert caught.value is errors[0]


def test_different_fates_are_returned() -> None:
    lost, refused = (BrokerUnavailableError("away", outcome=outcome) for outcome in ("unknown", "rejected"))
    for results in ([None, full()], [full(), None], [full(), lost], [lost, refused]):
        assert answer(results) is results


def test_messages_are_stored_in_order_but_for_refused_ones() -> None:
    refused, failed = {1: DriverError("too large")}, full()
    assert stored_in_order(4, 2, refused, failed) == [None, refused[1], None, failed]
    assert stored_in_order(2, 2, {}, failed) == ()
    with pytest.raises(QueueFullError):
        stored_in_order(3, 0, {}, failed)
