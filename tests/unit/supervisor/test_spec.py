import pytest

from tasuki.backoff import UNTIL_BACK, Backoff
from tasuki.errors import BrokerUnavailableError, QueueConflictError, StartTimeoutError
from tasuki.supervisor import spec
from tasuki.supervisor.spec import (
    RestartPolicy,
    Restarts,
    State,
    Status,
    find_given_up,
    find_unsettled,
    is_worth_waiting,
    may_follow,
)

DIAMOND = {"app": ["left", "right"], "left": ["base"], "right": ["base"], "base": [], "alone": []}


def test_missing_dependencies_are_found() -> None:
    assert spec.find_missing({"a": ["b", "x"], "b": ["y"]}) == [("a", "x"), ("b", "y")]


def test_a_cycle_is_told_in_the_direction_of_need() -> None:
    circle = spec.find_cycle({"a": ["b"], "b": ["c"], "c": ["a"], "d": []})
    assert circle[0] == circle[-1]
    assert sorted(circle[1:]) == ["a", "b", "c"]
    assert circle[circle.index("a") + 1 if circle[0] != "a" else 1] == "b"


def test_no_cycle() -> None:
    assert spec.find_cycle(DIAMOND) == []


def test_waves() -> None:
    assert [set(wave) for wave in spec.start_order(DIAMOND)] == [{"base", "alone"}, {"left", "right"}, {"app"}]


def test_waves_leave_out_what_is_not_in_the_graph() -> None:
    assert spec.start_order({"a": ["elsewhere"]}) == [["a"]]


def test_waves_of_a_cycle() -> None:
    with pytest.raises(ValueError, match="cycle"):
        spec.start_order({"a": ["a"]})


def test_closures() -> None:
    assert spec.with_dependencies(DIAMOND, ["left", "unknown"]) == {"left", "base"}
    assert spec.with_dependencies({"a": ["elsewhere"]}, ["a"]) == {"a"}
    assert spec.with_dependents(DIAMOND, ["base"]) == {"base", "left", "right", "app"}
    assert spec.reverse({"a": ["elsewhere", "b"], "b": []}) == {"a": [], "b": ["a"]}


def test_a_long_chain_is_no_problem() -> None:
    chain = {str(number): [str(number + 1)] for number in range(20_000)} | {"20000": []}
    assert len(spec.with_dependencies(chain, ["0"])) == 20_001
    assert spec.find_cycle(chain) == []


def test_what_may_start() -> None:
    assert spec.may_start(DIAMOND, ["app", "left", "base"], {"base"}) == ["left", "base"]


def test_what_may_stop() -> None:
    assert spec.may_stop(DIAMOND, ["left", "base", "alone"]) == ["left", "alone"]
    assert spec.may_stop(DIAMOND, []) == []


def test_a_circle_of_live_services_stops_at_once() -> None:
    assert spec.may_stop({"a": ["b"], "b": ["a"]}, ["a", "b"]) == ["a", "b"]
    assert spec.may_stop({"a": ["a"]}, ["a"]) == ["a"]


GRAPH = {"driver": [], "consumer": ["driver"], "other": []}


ORDER = ["driver", "other", "consumer"]


RUNNING = Status(State.RUNNING)


FAILED = Status(State.FAILED, failures=1)


GONE = Status(State.FAILED, failures=1, error=ValueError(), has_given_up=True)


def test_waits_for_all_in_order() -> None:
    statuses = dict.fromkeys(GRAPH, Status())
    assert find_unsettled(GRAPH, ORDER, statuses, ()) == ["driver", "other", "consumer"]


def test_done_when_all_are_up() -> None:
    assert find_unsettled(GRAPH, ORDER, dict.fromkeys(GRAPH, RUNNING) | {"other": Status(State.EXITED)}, ()) == []


def test_waits_for_a_required_one_that_failed() -> None:
    assert find_unsettled(GRAPH, ORDER, {"driver": FAILED, "consumer": Status(), "other": RUNNING}, ()) == [
        "driver",
        "consumer",
    ]


def test_does_not_wait_for_an_optional_one_that_failed_nor_for_its_dependents() -> None:
    statuses = {"driver": FAILED, "consumer": Status(), "other": Status()}
    assert find_unsettled(GRAPH, ORDER, statuses, {"driver"}) == ["other"]


def test_waits_for_the_first_attempt_of_an_optional_one() -> None:
    assert "driver" in find_unsettled(GRAPH, ORDER, dict.fromkeys(GRAPH, Status(State.STARTING)), {"driver"})


def test_does_not_wait_for_what_has_given_up() -> None:
    assert find_unsettled(GRAPH, ORDER, {"driver": GONE, "consumer": Status(), "other": RUNNING}, ()) == []


def test_given_up() -> None:
    statuses = {"driver": FAILED, "consumer": GONE, "other": RUNNING}
    assert find_given_up(statuses, ()) is GONE.error
    assert find_given_up(statuses, {"consumer"}) is None


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


def test_every_state_but_unknown_can_be_reached_and_left() -> None:
    for state in State:
        assert any(may_follow(state, new) for new in State)
        assert state is State.UNKNOWN or any(may_follow(old, state) for old in State)


def test_no_state_follows_itself() -> None:
    assert not any(may_follow(state, state) for state in State)


def test_a_stopped_service_only_starts() -> None:
    assert [new for new in State if may_follow(State.STOPPED, new)] == [State.STARTING]
