from __future__ import annotations

import pytest

from tasuki.drivers.toolkit.results import answer
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
