"""Turns of lanes against the model: what comes round repeatedly holds up no lane, and no lane gains by it.

Errors of turns show when a few acts repeat: a lane that comes and goes beside a waiting one, a removal before each
claim. So the acts come in rounds, each of which is done several times.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tasuki.contracts.driver import Ack, Driver, Limit, QueueSpec
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.testing.mutants import MUTANTS
from tests.conformance import memory_lane_mutants
from tests.properties.limit_model import LEASE, Kind, LimitModel
from tests.properties.test_limits import KINDS
from tests.properties.test_sqlite_limits import SQLiteLimitModel

Act = Callable[[LimitModel], object]

_FRESH = "+"


def _publish(name: str, number: int) -> Act:
    """Some messages of a lane; ``+``: of one that never was."""

    def act(model: LimitModel) -> None:
        lane = f"new{model.count}" if name == _FRESH else name
        model.publish([(lane, None, 0, 0.0)] * number)

    return act


def _come_and_go(name: str) -> Act:
    """A message that is removed before its turn."""

    def act(model: LimitModel) -> None:
        _publish(name, 1)(model)
        model.remove(model.items[-1:])

    return act


def _settle(kind: Kind) -> Act:
    return lambda model: model.settle([(kind, item, 0.0) for item in model.held()[:1]])


def _declare(fair: int, limit: Limit | None) -> Act:
    return lambda model: model.declare(QueueSpec("q", lease=LEASE, lane_limit=limit, fair=fair))


lane_names = st.sampled_from(["m", "m", "a", "b", _FRESH])
lane_limits = st.sampled_from([None, None, Limit(concurrency=1), Limit(concurrency=2), Limit(0.5, 2), Limit(0.01, 3)])
fairs = st.sampled_from([1, 1, 2, 4])
acts: st.SearchStrategy[Act] = st.one_of(
    st.builds(_publish, lane_names, st.sampled_from([1, 1, 1, 2, 6])),
    st.sampled_from([1, 1, 1, 2, 3, 6]).map(lambda limit: lambda model: model.serve(limit)),
    st.sampled_from([1, 1, 1, 2, 3, 6]).map(lambda limit: lambda model: model.serve(limit)),
    st.sampled_from([1, 2]).map(lambda limit: lambda model: model.receive(limit)),
    st.builds(_settle, st.sampled_from([Ack, *KINDS])),
    st.builds(_come_and_go, lane_names),
    st.sampled_from([0.5, 2.0, 100.0]).map(lambda seconds: lambda model: model.wait(seconds)),
)
changes = st.builds(_declare, fairs, lane_limits)
rounds = st.tuples(st.sampled_from([1, 3, 8, 20]), st.lists(acts, min_size=1, max_size=5))


@st.composite
def histories(draw: DrawFn) -> list[Act]:
    """First a backlog, then rounds; now and then another declaration between two."""
    history = [draw(changes)]
    history += [_publish(name, draw(st.sampled_from([0, 1, 12, 40]))) for name in ("m", "a", "b")]
    for times, round_ in draw(st.lists(rounds, min_size=1, max_size=5)):
        history += round_ * times
        history += [draw(changes)] if draw(st.integers(0, 5)) == 5 else []
    return history


def check(history: list[Act], make: Callable[[], LimitModel]) -> None:
    model = make()
    try:
        model.start(QueueSpec("q", lease=LEASE, fair=1))
        for act in history:
            act(model)
            model.check_counts()
        model.drain()
    finally:
        model.close()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_lanes_of_the_memory_driver_take_turns(history: list[Act]) -> None:
    check(history, LimitModel)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_lanes_of_the_sqlite_driver_take_turns(history: list[Act]) -> None:
    check(history, SQLiteLimitModel)


FROM_WITHIN = [
    memory_lane_mutants.ANewLaneGoesFirst,
    memory_lane_mutants.ALaneGoesOnWhereItWas,
    memory_lane_mutants.ALaneIsForgottenWithWhatItOwes,
    memory_lane_mutants.ALaneThatRestsIsNotStirred,
    memory_lane_mutants.ARemovalStartsTurnsAnew,
]
BY_VERBS = [
    mutant
    for mutant in MUTANTS
    if mutant.__name__
    in {
        "ATurnHasNoEnd",
        "AllHaveOneLane",
        "EachMessageHasALane",
        "LimitsOfLanesAreIgnored",
        "TheLimitOfALaneIsThatOfTheQueue",
        "AnotherLimitOfLanesHasAFreshBurst",
        "AnEmptyLaneIsForgotten",
    }
]


@pytest.mark.parametrize("mutant", [*FROM_WITHIN, *BY_VERBS], ids=lambda mutant: mutant.__name__)
def test_each_mutant_of_turns_is_noticed(mutant: type[Driver]) -> None:
    class Broken(LimitModel):
        def make_driver(self) -> Driver:
            if issubclass(mutant, MemoryDriver):
                return mutant("memory", clock=self.clock)
            return mutant(MemoryDriver("memory", clock=self.clock))  # type: ignore[arg-type]

        def left_behind(self) -> tuple[()]:
            return ()

    @settings(
        max_examples=1000, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow], report_multiple_bugs=False,
    )  # fmt: skip
    @given(histories())
    def find(history: list[Act]) -> None:
        check(history, Broken)

    with pytest.raises((AssertionError, StopIteration)):
        find()
