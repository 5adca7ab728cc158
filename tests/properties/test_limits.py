"""Limits and lanes of the memory driver against a model, among all else that can happen to a queue."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tasuki.contracts.driver import Ack, Limit, Nack, QueueSpec, Release
from tests.properties.limit_model import LEASE, Ending, Item, Kind, LimitModel, Parts

limits = st.sampled_from(
    [None, None, Limit(0.5, 3), Limit(0.01, 2), Limit(0.02, 4), Limit(concurrency=1), Limit(0.2, 4, 3)]
)
rarely = st.integers(0, 5).map(lambda number: number == 0)
specs = st.builds(
    lambda limit, lane_limit, fair, ordering: QueueSpec(
        "q", lease=LEASE, limit=limit, lane_limit=lane_limit if fair else None, fair=fair, ordering=ordering
    ),
    limits,
    limits,
    st.sampled_from([0, 1, 1, 3]),
    st.sampled_from(["none", "none", "key"]),
)
parts = st.tuples(
    st.sampled_from(["", "a", "b", "c"]),
    st.sampled_from([None, "k", "l"]),
    st.sampled_from([0, 0, 9]),
    st.sampled_from([0.0, 0.0, 0.0, 4.0]),
)

KINDS: list[Kind] = [Ack, Ack, Nack, Release]


class LimitMachine(RuleBasedStateMachine):
    model_class: ClassVar[type[LimitModel]] = LimitModel

    def __init__(self) -> None:
        super().__init__()
        self.model = self.model_class()

    @initialize(spec=specs)
    def start(self, spec: QueueSpec) -> None:
        self.model.start(spec)

    @rule(parts=st.lists(parts, min_size=1, max_size=2) | st.lists(parts, min_size=1, max_size=9))
    def publish(self, parts: list[Parts]) -> None:
        self.model.publish(parts)

    @rule(limit=st.integers(1, 6))
    def receive(self, limit: int) -> None:
        self.model.receive(limit)

    @rule(limit=st.sampled_from([1, 1, 2, 5]), times=st.integers(1, 6))
    def serve(self, limit: int, times: int) -> None:
        for _ in range(times):
            self.model.serve(limit)

    @precondition(lambda self: self.model.held())
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        chosen = data.draw(st.lists(st.sampled_from(self.model.held()), min_size=1, max_size=4, unique_by=id))
        endings: list[Ending] = []
        for item in chosen:
            kind = data.draw(st.sampled_from(KINDS))
            endings.append((kind, item, data.draw(st.sampled_from([0.0, 0.0, 3.0])) if kind is not Ack else 0.0))
        self.model.settle(endings)

    @rule(seconds=st.sampled_from([0.3, 1.0, 5.0]), is_long=rarely)
    def wait(self, seconds: float, is_long: bool) -> None:
        self.model.wait(100.0 if is_long else seconds)

    @rule(spec=specs, acts=st.sampled_from([True, False, False]))
    def change(self, spec: QueueSpec, acts: bool) -> None:
        if acts:
            self.model.declare(spec)

    @rule(acts=rarely)
    def purge(self, acts: bool) -> None:
        if acts:
            self.model.purge()

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        waiting = [item for item in self.model.items if item.receipt is None]
        gone = data.draw(st.lists(st.sampled_from(waiting), max_size=2, unique_by=id)) if waiting else []
        self.model.remove(gone)

    @rule(acts=rarely)
    def reopen(self, acts: bool) -> None:
        if acts:
            self.model.reopen()

    @invariant()
    def counts(self) -> None:
        self.model.check_counts()

    def teardown(self) -> None:
        self.model.drain()
        self.model.close()


TestLimits = LimitMachine.TestCase
TestLimits.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


LIMIT = Limit(0.02, 4)


def plain(lane: str, delay: float = 0.0) -> Parts:
    return lane, None, 0, delay


def waiting(model: LimitModel) -> list[Item]:
    return [item for item in model.items if item.receipt is None]


def purged_with_a_message_held(model: LimitModel, spec: QueueSpec) -> None:
    """A history in which lane 'a' was served three times while 'b' waited."""
    model.start(QueueSpec("q", lease=LEASE))
    try:
        model.declare(spec)
        model.publish([plain(""), plain("a")])
        model.remove(model.items[:1])
        (held,) = model.receive(2)
        model.publish([("", "k", 0, 4.0), plain("a")])
        model.publish([plain("")])
        model.publish([plain("")])
        model.remove(waiting(model)[1:3])
        model.publish([plain("")])
        model.purge()
        for parts in ([plain("")], [plain("")], [plain("a", 4.0)], [plain(""), plain("b")]):
            model.publish(parts)
        model.wait(100.0)
        model.publish([plain("a")])
        model.settle([(Nack, held, 0.0)])
        for _ in range(4):
            model.serve(1)
        model.drain()
    finally:
        model.close()


@pytest.mark.parametrize("lane_limit", [None, LIMIT], ids=["queue", "lanes"])
def test_a_lane_that_was_purged_while_one_of_it_was_held_goes_behind(lane_limit: Limit | None) -> None:
    limit = None if lane_limit else LIMIT
    purged_with_a_message_held(LimitModel(), QueueSpec("q", lease=LEASE, fair=1, limit=limit, lane_limit=lane_limit))
