import pytest

from tasuki.backoff import UNTIL_BACK, Backoff
from tasuki.errors import BrokerUnavailableError, QueueConflictError, StartTimeoutError
from tasuki.supervisor.spec import RestartPolicy, Restarts, is_worth_waiting

STEADY = Backoff(jitter=0)
AWAY = BrokerUnavailableError("away")


def make(max_attempts: int = 0, *, is_required: bool = True) -> Restarts:
    return Restarts(RestartPolicy(STEADY, max_attempts), stable_threshold=5.0, is_required=is_required)


def test_the_backoff_really_grows_to_its_cap_and_stays_there() -> None:
    restarts = make(is_required=False)
    assert [restarts.failed(ValueError(), None) for _ in range(10)] == [1, 2, 4, 8, 16, 32, 64, 90, 90, 90]


def test_a_broker_that_is_away_is_tried_again_soon_however_long_it_is_away() -> None:
    restarts = make()
    assert [restarts.failed(AWAY, None) for _ in range(1000)] == [1, *[UNTIL_BACK.max_delay] * 999]


def test_a_shorter_pause_than_that_is_kept() -> None:
    restarts = Restarts(RestartPolicy(Backoff(0.1, 0.5, jitter=0)), stable_threshold=5.0, is_required=True)
    assert [restarts.failed(AWAY, None) for _ in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]


def test_a_short_run_does_not_reset_it() -> None:
    restarts = make()
    assert [restarts.failed(ValueError(), ran_for) for ran_for in (4.9, 4.9, 0.0)] == [1, 2, 4]


def test_a_stable_run_resets_it() -> None:
    restarts = make()
    assert [restarts.failed(AWAY, ran_for) for ran_for in (None, None, 5.0, None)] == [1, 2, 1, 2]


def test_max_attempts_counts_restarts_in_a_row() -> None:
    restarts = make(2)
    assert [restarts.failed(AWAY, None) for _ in range(3)] == [1, 2, None]
    assert restarts.is_spent


def test_no_limit() -> None:
    restarts = make(0)
    for _ in range(1000):
        restarts.failed(AWAY, None)
    assert not restarts.is_spent


def test_a_required_service_that_never_ran_gives_up_at_a_definite_error() -> None:
    assert make().failed(ValueError(), None) is None
    assert make(is_required=False).failed(ValueError(), None) == 1


def test_once_it_has_run_every_error_is_tried_again() -> None:
    restarts = make()
    assert restarts.failed(ValueError(), 1.0) == 1
    assert restarts.failed(ValueError(), None) == 2


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AWAY, True),
        (StartTimeoutError("late"), True),
        (QueueConflictError("other options"), False),
        (OSError("address in use"), False),
        (ExceptionGroup("both", [AWAY, AWAY]), True),
        (ExceptionGroup("mixed", [AWAY, OSError()]), False),
    ],
)
def test_what_is_worth_waiting_for(error: Exception, expected: bool) -> None:
    assert is_worth_waiting(error) is expected
