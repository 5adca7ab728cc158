"""What a row of looks says about a consumer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasuki.app.health.judge import PATIENCE, SILENCE, Judge, Look, problem_of
from tasuki.supervisor.state import State, Status

IDLE = Look(delivered=7, settled=7, is_free=True, ready=True)
LEFT = Look(delivered=7, settled=4, unsettled=3, is_free=True, ready=False)


def verdicts(judge: Judge, *looks: Look) -> list[bool]:
    """For each look whether the consumer is live."""
    return [not judge.judge(look)[0] for look in looks]


@pytest.mark.parametrize("look", [IDLE, LEFT], ids=["ready", "unsettled"])
def test_no_progress_for_some_looks(look: Look) -> None:
    judge = Judge()
    assert verdicts(judge, *[look] * (PATIENCE + 2)) == [True] * PATIENCE + [False, False]
    why = judge.judge(look)
    assert why[0] == why[1] != ""


@pytest.mark.parametrize(
    ("look", "better"),
    [
        (IDLE, replace(IDLE, delivered=8)),
        (IDLE, replace(IDLE, is_free=False)),
        (IDLE, replace(IDLE, ready=False)),
        (IDLE, replace(IDLE, ready=None)),
        (LEFT, replace(LEFT, settled=5)),
        (LEFT, replace(LEFT, unsettled=0)),
        (LEFT, replace(LEFT, problem="the broker is away")),
    ],
)
def test_one_better_look_starts_the_count_again(look: Look, better: Look) -> None:
    judge = Judge()
    assert all(verdicts(judge, *[look] * PATIENCE, better, *[replace(look, settled=better.settled)] * (PATIENCE - 1)))


def test_silence() -> None:
    assert Judge().judge(Look(silence=SILENCE - 1, problem="no answer")) == ("", "no answer")
    assert Judge().judge(Look(silence=SILENCE))[0] == "the broker has answered nothing for 15 s"


def test_a_broker_that_gives_and_takes_messages_is_not_silent_only_slow_to_count() -> None:
    judge = Judge()
    for seconds in range(0, 300, 5):
        settled = min(seconds // 60, 3)
        live, ready = judge.judge(Look(settled, settled, silence=seconds, problem="no answer"))
        assert (bool(live), bool(ready)) == (seconds % 60 >= SILENCE or seconds >= 195, True), seconds
        if live:
            assert live == f"the broker has answered nothing for {seconds - settled * 60} s"


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (None, ""),
        (Status(), ""),
        (Status(State.RUNNING), ""),
        (Status(State.STARTING), "starting"),
        (Status(State.FAILED, error=ValueError("no")), "it has failed: no"),
        (Status(State.FAILED, error=ValueError("no"), has_given_up=True), "it has given up: no"),
    ],
)
def test_problems_of_services(status: Status | None, problem: str) -> None:
    assert problem_of(status) == problem
