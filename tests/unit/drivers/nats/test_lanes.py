from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tasuki.contracts.driver import Outgoing, QueueSpec, Unique
from tasuki.drivers.nats.queues.names import MADE_LATER, PARTITIONS, Plan, merged, plan_in, plan_of


def message(priority: int = 0, key: str | None = None) -> Outgoing:
    return Outgoing("a", b"", {}, priority=priority, key=key)


PLANS = st.builds(Plan, st.booleans(), st.integers(0, 64), st.booleans(), st.frozensets(st.sampled_from(MADE_LATER)))


def test_a_plain_queue_has_one_lane() -> None:
    plan = plan_of(QueueSpec("q"))
    assert [lane.name for lane in plan.lanes()] == ["m"]
    assert plan.lane_of(message(key="k")) == "m"


def test_each_priority_has_a_lane_and_higher_ones_come_first() -> None:
    plan = plan_of(QueueSpec("q", priorities=True))
    ranks = {lane.name: lane.rank for lane in plan.lanes()}
    lanes = [plan.lane_of(message(priority)) for priority in range(10)]
    assert lanes == ["m", *(f"p{level}" for level in range(1, 10))]
    assert all(ranks[low] > ranks[high] for low, high in pairwise(lanes))


def test_keys_have_partitions_with_one_delivery_at_a_time() -> None:
    plan = plan_of(QueueSpec("q", ordering="key", options={"partitions": 4}))
    assert {lane.name: lane.one_at_a_time for lane in plan.lanes()} == {
        "m": False, "k0": True, "k1": True, "k2": True, "k3": True,
    }  # fmt: skip
    assert plan.lane_of(message()) == "m"
    assert plan_of(QueueSpec("q", ordering="key")).partitions == PARTITIONS


@given(st.text(), st.integers(0, 9))
def test_a_key_has_one_partition_whatever_the_priority(key: str, priority: int) -> None:
    plan = plan_of(QueueSpec("q", ordering="key", priorities=True))
    lane = plan.lane_of(message(key=key))
    assert lane == plan.lane_of(message(priority, key))
    assert lane in {lane.name for lane in plan.lanes()}


def test_unique_messages_have_a_lane_in_which_each_key_has_a_subject() -> None:
    plan = Plan(later=frozenset({"u"}))
    assert [(lane.name, lane.tail) for lane in plan.lanes()] == [("m", "m"), ("u", "u.*")]
    first, same, other = (
        Outgoing(id, b"", {}, unique=Unique(key, "running")) for id, key in (("a", "k"), ("b", "k"), ("c", "K"))
    )
    assert plan.lane_of(first) == plan.lane_of(same) != plan.lane_of(other)
    assert plan.lane_of(first).startswith("u.")
    assert plan.lane_of(message()) == "m"


def test_a_stream_without_unique_and_delayed_messages_says_nothing_of_them() -> None:
    assert not {"tasuki.unique", "tasuki.delayed"} & plan_of(QueueSpec("q")).metadata().keys()


def test_delayed_messages_have_a_lane_unless_another_one_keeps_what_they_ask_for() -> None:
    plan = Plan(priorities=True, partitions=1, ordered=True)
    assert plan.missing(Outgoing("a", b"", {}, delay=1.0)) == "d"
    assert plan.missing(Outgoing("a", b"", {})) is None
    assert plan.missing(Outgoing("a", b"", {}, delay=1.0, priority=3)) is None
    assert plan.missing(Outgoing("a", b"", {}, delay=1.0, key="k")) is None
    made = merged(plan, Plan(later=frozenset({"d"})))
    assert made.missing(Outgoing("a", b"", {}, delay=1.0)) is None
    assert [lane.name for lane in made.lanes() if lane.rank == 9] == ["m", "d", "k0"]
    assert plan_in(made.metadata()) == made


@given(PLANS)
def test_a_stream_keeps_its_plan(plan: Plan) -> None:
    assert plan_in(plan.metadata()) == plan


def test_what_others_wrote_into_a_stream_is_no_plan() -> None:
    for metadata in (None, {}, {"tasuki.partitions": "many"}, {"_nats.ver": "2.12"}):
        assert plan_in(metadata) == Plan()


@given(PLANS, PLANS)
def test_no_lane_is_forgotten_when_a_queue_is_declared_again(old: Plan, new: Plan) -> None:
    names = {lane.name for lane in merged(old, new).lanes()}
    assert {lane.name for lane in old.lanes()} <= names
    assert merged(old, new).ordered == new.ordered
