"""The judgement of a series of observations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasuki.app.health.judge import PATIENCE, SILENCE, Judge, Observation, problem_of
from tasuki.supervisor.state import State, Status

IDLE = Observation(delivered=7, settled=7, is_free=True, ready=True)
LEFT = Observation(delivered=7, settled=4, unsettled=3, is_free=True, ready=False)


def verdicts(judge: Judge, *series: Observation) -> list[bool]:
    """Whether the consumer is live, for each observation."""
    return [not judge.judge(seen)[0] for seen in series]


@pytest.mark.parametrize("seen", [IDLE, LEFT], ids=["ready", "unsettled"])
def test_no_progress_for_some_observations(seen: Observation) -> None:
    judge = Judge()
    assert verdicts(judge, *[seen] * (PATIENCE + 2)) == [True] * PATIENCE + [False, False]
    why = judge.judge(seen)
    assert why[0] == why[1] != ""


@pytest.mark.parametrize(
    ("seen", "better"),
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
def test_one_better_observation_starts_the_count_again(seen: Observation, better: Observation) -> None:
    judge = Judge()
    assert all(verdicts(judge, *[seen] * PATIENCE, better, *[replace(seen, settled=better.settled)] * (PATIENCE - 1)))


def test_silence() -> None:
    assert Judge().judge(Observation(silence=SILENCE - 1, problem="no answer")) == ("", "no answer")
    assert Judge().judge(Observation(silence=SILENCE))[0] == "the broker has answered nothing for 15 s"


def test_a_broker_that_gives_and_takes_messages_is_not_silent_only_slow_to_count() -> None:
    judge = Judge()
    for seconds in range(0, 300, 5):
        settled = min(seconds // 60, 3)
        live, ready = judge.judge(Observation(settled, settled, silence=seconds, problem="no answer"))
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
