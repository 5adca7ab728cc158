import pytest

from tasuki.supervisor import order
from tasuki.supervisor.order import find_given_up, find_unsettled
from tasuki.supervisor.state import State, Status

DIAMOND = {"app": ["left", "right"], "left": ["base"], "right": ["base"], "base": [], "alone": []}


def test_missing_dependencies_are_found() -> None:
    assert order.find_missing({"a": ["b", "x"], "b": ["y"]}) == [("a", "x"), ("b", "y")]


def test_a_cycle_is_told_in_the_direction_of_need() -> None:
    circle = order.find_cycle({"a": ["b"], "b": ["c"], "c": ["a"], "d": []})
    assert circle[0] == circle[-1]
    assert sorted(circle[1:]) == ["a", "b", "c"]
    assert circle[circle.index("a") + 1 if circle[0] != "a" else 1] == "b"


def test_no_cycle() -> None:
    assert order.find_cycle(DIAMOND) == []


def test_waves() -> None:
    assert [set(wave) for wave in order.start_order(DIAMOND)] == [{"base", "alone"}, {"left", "right"}, {"app"}]


def test_waves_leave_out_what_is_not_in_the_graph() -> None:
    assert order.start_order({"a": ["elsewhere"]}) == [["a"]]


def test_waves_of_a_cycle() -> None:
    with pytest.raises(ValueError, match="cycle"):
        order.start_order({"a": ["a"]})


def test_closures() -> None:
    assert order.with_dependencies(DIAMOND, ["left", "unknown"]) == {"left", "base"}
    assert order.with_dependencies({"a": ["elsewhere"]}, ["a"]) == {"a"}
    assert order.with_dependents(DIAMOND, ["base"]) == {"base", "left", "right", "app"}
    assert order.reverse({"a": ["elsewhere", "b"], "b": []}) == {"a": [], "b": ["a"]}


def test_a_long_chain_is_no_problem() -> None:
    chain = {str(number): [str(number + 1)] for number in range(20_000)} | {"20000": []}
    assert len(order.with_dependencies(chain, ["0"])) == 20_001
    assert order.find_cycle(chain) == []


def test_what_may_start() -> None:
    assert order.may_start(DIAMOND, ["app", "left", "base"], {"base"}) == ["left", "base"]


def test_what_may_stop() -> None:
    assert order.may_stop(DIAMOND, ["left", "base", "alone"]) == ["left", "alone"]
    assert order.may_stop(DIAMOND, []) == []


def test_a_circle_of_live_services_stops_at_once() -> None:
    assert order.may_stop({"a": ["b"], "b": ["a"]}, ["a", "b"]) == ["a", "b"]
    assert order.may_stop({"a": ["a"]}, ["a"]) == ["a"]


GRAPH = {"driver": [], "consumer": ["driver"], "other": []}


RUNNING = Status(State.RUNNING)


FAILED = Status(State.FAILED, failures=1)


GONE = Status(State.FAILED, failures=1, error=ValueError(), has_given_up=True)


def test_waits_for_all_in_order() -> None:
    statuses = dict.fromkeys(GRAPH, Status())
    assert find_unsettled(GRAPH, statuses, ()) == ["driver", "other", "consumer"]


def test_done_when_all_are_up() -> None:
    assert find_unsettled(GRAPH, dict.fromkeys(GRAPH, RUNNING) | {"other": Status(State.EXITED)}, ()) == []


def test_waits_for_a_required_one_that_failed() -> None:
    assert find_unsettled(GRAPH, {"driver": FAILED, "consumer": Status(), "other": RUNNING}, ()) == [
        "driver",
        "consumer",
    ]


def test_does_not_wait_for_an_optional_one_that_failed_nor_for_its_dependents() -> None:
    statuses = {"driver": FAILED, "consumer": Status(), "other": Status()}
    assert find_unsettled(GRAPH, statuses, {"driver"}) == ["other"]


def test_waits_for_the_first_attempt_of_an_optional_one() -> None:
    assert "driver" in find_unsettled(GRAPH, dict.fromkeys(GRAPH, Status(State.STARTING)), {"driver"})


def test_does_not_wait_for_what_has_given_up() -> None:
    assert find_unsettled(GRAPH, {"driver": GONE, "consumer": Status(), "other": RUNNING}, ()) == []


def test_given_up() -> None:
    statuses = {"driver": FAILED, "consumer": GONE, "other": RUNNING}
    assert find_given_up(statuses, ()) is GONE.error
    assert find_given_up(statuses, {"consumer"}) is None
