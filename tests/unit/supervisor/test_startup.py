from tasuki.supervisor.order import find_given_up, find_unsettled
from tasuki.supervisor.state import State, Status

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
