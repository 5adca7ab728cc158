"""``limit`` and ``fair``: the values they take, what a driver and its workers get of them, and the refusals."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tasuki.contracts.driver import Capabilities, Limit
from tasuki.drivers.amqp.driver import AMQPDriver
from tasuki.kinds.build import queue_policy, queue_spec
from tasuki.kinds.check.consumers import follows_handler, prefetch_of
from tasuki.kinds.check.warnings import warnings_of
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.queue import QueueConfig
from tests.support.narrow import present
from tests.unit.kinds.conftest import Make, Problems

DRIVER = "  - {name: d, kind: queue.driver.memory}\n"
RABBIT = "  - {name: d, kind: queue.driver.amqp}\n"
STORE = "  - {name: m, kind: queue.driver.sqlite}\n  - {name: s, kind: store.sqlite, driver: m}\n"
QUEUE = "  - {name: q, kind: queue.queue, driver: d, "
CONSUMER = """
  - {name: f, kind: function.lua, source: "return function() end"}
  - {name: c, kind: queue.consumer, queue: q, func: f, lifecycle: {auto_start: true}FIELDS}
"""

MakeQueue = Callable[..., QueueConfig]
NONE = Capabilities()
LIMITS = Capabilities(abilities=frozenset({"limits"}))


@pytest.fixture
def queue(project: Make) -> MakeQueue:
    def make(fields: str) -> QueueConfig:
        return project(f"{DRIVER}{QUEUE}{fields}}}\n").of(QueueConfig)["app:q"]

    return make


@pytest.mark.parametrize(
    ("written", "limit"),
    [
        ("10/s", Limit(10.0, 1)),
        ("100", Limit(100.0, 10)),
        ("{rate: 100/m}", Limit(100 / 60, 1)),
        ("{rate: 5/h, burst: 3}", Limit(5 / 3600, 3)),
        ("{rate: 1000/s, concurrency: 4}", Limit(1000.0, 100, 4)),
        ("{rate: 0.5}", Limit(0.5, 1)),
        ("{rate: 1e300}", Limit(1e300, 1_000_000_000)),
        ("{concurrency: 4}", Limit(concurrency=4)),
    ],
)
def test_a_limit_over_the_whole_queue(queue: MakeQueue, written: str, limit: Limit) -> None:
    spec = queue_spec(config := queue(f"limit: {written}"))
    assert (spec.limit, spec.lane_limit, spec.fair) == (limit, None, 0)
    assert queue_policy(config).lanes is None


def test_a_limit_by_key_and_turns_are_lanes(queue: MakeQueue) -> None:
    spec = queue_spec(config := queue("limit: {concurrency: 3, key: header.tenant}"))
    assert (spec.limit, spec.lane_limit, spec.fair) == (None, Limit(concurrency=3), 1)
    rule = present(queue_policy(config).lanes)
    assert (present(rule.path).text, rule.is_line, rule.reads_body) == ("header.tenant", False, False)
    spec = queue_spec(queue("fair: {key: body.user.id, share: 10}"))
    assert (spec.limit, spec.lane_limit, spec.fair) == (None, None, 10)
    assert present(queue_policy(queue("fair: body.user.id")).lanes).reads_body


def test_a_limit_over_the_whole_queue_and_turns_combine(queue: MakeQueue) -> None:
    spec = queue_spec(queue("limit: 50/s, fair: header.tenant"))
    assert (spec.limit, spec.lane_limit, spec.fair) == (Limit(50.0, 5), None, 1)
    spec = queue_spec(queue("limit: {rate: 50/s, key: header.tenant}, fair: {key: header.tenant, share: 2}"))
    assert (spec.limit, spec.lane_limit, spec.fair) == (None, Limit(50.0, 5), 2)


def test_a_list_has_a_limit_over_the_whole_queue_and_one_of_each_lane(queue: MakeQueue) -> None:
    for written in ("[10/s, {concurrency: 3, key: header.a}]", "[{concurrency: 3, key: header.a}, {rate: 10/s}]"):
        config = queue(f"limit: {written}")
        spec = queue_spec(config)
        assert (spec.limit, spec.lane_limit, spec.fair) == (Limit(10.0, 1), Limit(concurrency=3), 1)
        assert present(present(queue_policy(config).lanes).path).text == "header.a"
        assert config.lease == 15.0
    spec = queue_spec(queue("limit: [{rate: 5, key: key}], fair: key"))
    assert (spec.limit, spec.lane_limit, spec.fair) == (None, Limit(5.0, 1), 1)
    assert queue_spec(queue("limit: [5/s]")).limit == Limit(5.0, 1)
    assert queue_spec(queue("limit: []")).limit is None


def test_the_lane_of_ordered_messages_is_their_key(queue: MakeQueue) -> None:
    config = queue("ordering: key, limit: {concurrency: 1, key: key}, fair: key")
    rule = present(queue_policy(config).lanes)
    assert (rule.path, rule.is_line) == (None, True)


def test_workers_keep_what_the_driver_does_not(queue: MakeQueue) -> None:
    config = queue("limit: {rate: 10/s, burst: 2, concurrency: 4}")
    whole = Limit(10.0, 2, 4)
    told = [(queue_spec(config, has).limit, queue_policy(config, has).worker_limit) for has in (NONE, LIMITS)]
    assert told == [(None, whole), (whole, None)]
    by_key = queue("limit: {rate: 10/s, key: header.x}")
    assert (queue_spec(by_key, NONE).limit, queue_policy(by_key, NONE).worker_limit) == (None, None)
    assert queue_policy(queue("lease: 1s"), NONE).worker_limit is None


def test_places_have_a_short_lease_unless_another_is_given(queue: MakeQueue) -> None:
    assert queue("limit: {concurrency: 3}").lease == 15.0
    assert queue("limit: {concurrency: 3, key: header.x}, lease: 1m").lease == 60.0
    assert queue("limit: 3/s").lease == queue("fair: header.x").lease == 30.0


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("limit: 0/s", "limit.rate: '0/s' is not a rate above 0; write it like 10/s, 100/m or 5/h"),
        ("rate: 5/s", "write limit: {rate: …}"),
        ("concurrency: 3", "a consumer has it; over all workers write limit: {concurrency: …}"),
        ("limit: {rate: fast}", "'fast' is not a rate above 0"),
        ("limit: {rate: 5/x}", "'5/x' is not a rate above 0"),
        ("limit: {rate: -1}", "-1 is not a rate above 0"),
        ("limit: {}", "limit needs a rate (10/s), a concurrency, or both"),
        ("limit: {concurrency: 0}", "limit.concurrency must be at least 1"),
        ("limit: {concurrency: 3000000000}", "limit.concurrency must be at most 1000000000"),
        ("limit: {rate: 1, burst: 3000000000}", "limit.burst must be at most 1000000000"),
        ("fair: {key: header.a, share: 3000000000}", "fair.share must be at most 1000000000"),
        ("limit: {burst: 3, concurrency: 1}", "burst is for a rate"),
        (
            "limit: {rate: 1, key: tenant}",
            "'tenant' names no value of a message; write header.tenant, body.user.id or key",
        ),
        ("fair: tenant", "'tenant' names no value of a message"),
        ("limit: [5/s, {rate: fast, key: key}]", "limit.1.rate: 'fast' is not a rate above 0"),
        ("limit: [5/s, {places: 3}]", "unknown field 'limit.1.places'"),
        ("limit: [5/s, true]", "limit.1 must be a mapping, not true"),
        ("limit: [5/s, {rate: 1, key: header.b}], fair: header.a", "fair is by header.a and limit by header.b"),
        ("fair: {share: 2}", "key"),
        (
            "limit: {rate: 1, key: header.a}, fair: header.b",
            "fair is by header.b and limit by header.a, but a message is in one lane; write the same key in both",
        ),
        (
            "ordering: key, fair: header.a",
            "ordering: key makes the key of a message its lane, and the lanes here are by header.a; write key: key",
        ),
    ],
)
def test_what_cannot_be(problems: Problems, fields: str, problem: str) -> None:
    [text] = problems(f"{DRIVER}{QUEUE}{fields}}}\n")
    assert text.startswith("4:")
    assert problem in text


@pytest.mark.parametrize(
    ("fields", "second", "problem"),
    [
        (
            "limit: [5/s, {concurrency: 3}]",
            "{concurrency",
            "limit has two limits over the whole queue, and a queue has one of each kind; give one of them a key, or "
            "make them one",
        ),
        (
            "limit: [{rate: 1, key: header.a}, 7/s, {concurrency: 1, key: header.a}]",
            "{concurrency",
            "limit has two limits by a key, and a queue has one of each kind; write its rate and its concurrency in "
            "one",
        ),
    ],
)
def test_a_queue_has_one_limit_of_each_kind(problems: Problems, fields: str, second: str, problem: str) -> None:
    [text] = problems(f"{DRIVER}{QUEUE}{fields}}}\n")
    assert text == f"4:{len(QUEUE) + 1 + fields.index(second)}: app:q: {problem}"


def test_of_two_limits_a_driver_without_lanes_refuses_the_one_by_key(problems: Problems) -> None:
    fields = "state: s, limit: [5/s, {concurrency: 2, key: header.x}]"
    [text] = problems(f"{RABBIT}{STORE}{QUEUE}{fields}}}\n")
    assert f":{len(QUEUE) + 1 + fields.index('key')}: app:q: queue 'app:q' limits by key, which driver" in text
    fields = "limit: [{rate: 5, key: header.x}, {concurrency: 2}]"
    texts = problems(f"{RABBIT}{QUEUE}{fields}}}\n")
    assert sum("limit: concurrency needs a driver that can" in text for text in texts) == 1


def test_a_driver_without_lanes_is_refused(problems: Problems) -> None:
    fields = "limit: {concurrency: 2, key: header.x}, fair: header.x"
    limit, fair = problems(f"{RABBIT}{QUEUE}{fields}}}\n")
    place = f"4:{len(QUEUE) + 1 + fields.index('key')}"
    problem = "queue 'app:q' limits by key, which driver 'app:d' (amqp) cannot; move it to "
    assert limit.startswith(f"{place}: app:q: {problem}")
    assert limit.endswith(", or drop 'key'")
    assert "memory" in limit
    assert "which driver 'app:d' (amqp) cannot" in fair
    assert fair.endswith("or drop 'fair'")


def test_a_driver_without_limits_needs_a_store(problems: Problems, project: Make) -> None:
    [text] = problems(f"{RABBIT}{QUEUE}limit: 5/s}}\n")
    assert "limit: rate needs a driver that can limit how many messages are handled in a time" in text
    assert "'app:d' (amqp) cannot" in text
    assert text.endswith("or write 'state: <id of a store>' at the queue or its driver")
    made = project(f"{RABBIT}{STORE}{QUEUE}state: s, limit: {{rate: 5/s, concurrency: 2}}}}\n")
    config = made.of(QueueConfig)["app:q"]
    assert queue_policy(config, AMQPDriver.capabilities).worker_limit == Limit(5.0, 1, 2)


def test_it_can_be_required(project: Make, problems: Problems) -> None:
    names = "[limit.rate, limit.concurrency, limit.key, fair]"
    project(f"{DRIVER}{QUEUE}requires: {names}}}\n")
    texts = problems(f"{RABBIT}{QUEUE}requires: {names}}}\n")
    assert len(texts) == 4
    project(f"{RABBIT}{STORE}{QUEUE}state: s, requires: [limit.rate, limit.concurrency]}}\n")


def test_a_long_lease_and_a_large_prefetch_keep_places(project: Make) -> None:
    def told(fields: str, consumer: str = "") -> list[str]:
        text = f"{DRIVER}{QUEUE}dead_letter: null, {fields}}}\n{CONSUMER.replace('FIELDS', consumer)}"
        return [f"{each.problem}; {each.hint}" for each in warnings_of(project(text))]

    [lease] = told("limit: {concurrency: 3}, lease: 1m")
    assert lease.startswith("a killed worker keeps its places of limit for the lease, which is 1m; write lease: 15s")
    [prefetch] = told("limit: {concurrency: 3}", ", prefetch: 4")
    assert prefetch.startswith("prefetch 4 is more than the 3 places that app:q has by its limit; ")
    [batch] = told("limit: {concurrency: 3}", ", batch: {size: 4}")
    assert batch.startswith("a batch of 4 is never full: app:q has 3 places by its limit; lower size to 3: else each")
    assert not told("limit: {concurrency: 3}", ", batch: {size: 3}")
    assert not told("limit: {concurrency: 3, key: header.a}", ", batch: {size: 4}")
    [batch] = told("limit: [{concurrency: 3, key: header.a}, {concurrency: 7}]", ", batch: {size: 8}")
    assert "app:q has 7 places by its limit" in batch
    assert not told("limit: [{concurrency: 3, key: header.a}, 7/s]", ", batch: {size: 8}")
    assert not told("limit: {concurrency: 3}", ", prefetch: 3")
    assert not told("limit: {concurrency: 3}", ", prefetch: 9, concurrency: 9")
    assert not told("limit: 3/s, lease: 1m", ", prefetch: 9")


def test_a_message_that_is_settled_first_has_no_place(problems: Problems) -> None:
    consumer = CONSUMER.replace("FIELDS", ", auto_ack: true")
    [text] = problems(f"{DRIVER}{QUEUE}limit: {{concurrency: 3}}}}\n{consumer}")
    assert "app:c: auto_ack settles a message before its function runs, and so frees its place in app:q" in text
    assert text.endswith("; remove auto_ack, or the concurrency of the queue's limit")


def test_a_window_follows_unless_it_is_stated_or_its_queue_is_fair() -> None:
    plain = ConsumerConfig.model_validate({"queue": "q", "func": "f"}, context={"namespace": "app"})
    queue, fair = (
        QueueConfig.model_validate({"driver": "d", **options}, context={"namespace": "app", "name": "q"})
        for options in ({}, {"fair": "header.tenant"})
    )
    assert follows_handler(plain, queue)
    assert not follows_handler(plain, fair)
    assert not follows_handler(plain, queue, is_limited=True)
    for stated in ({"prefetch": 10}, {"batch": _batch()}):
        assert not follows_handler(plain.model_copy(update=stated), queue)


def test_a_consumer_of_a_limited_queue_holds_what_it_handles() -> None:
    plain = ConsumerConfig.model_validate({"queue": "q", "func": "f", "concurrency": 4}, context={"namespace": "app"})
    assert (prefetch_of(plain, {}), prefetch_of(plain, {}, is_limited=True)) == (10, 4)
    batched = plain.model_copy(update={"batch": present(_batch())})
    assert prefetch_of(batched, {}, is_limited=True) == 20
    said = plain.model_copy(update={"prefetch": 7})
    assert prefetch_of(said, {}, is_limited=True) == 7


def _batch() -> object:
    fields = {"queue": "q", "func": "f", "batch": {"size": 5}}
    return ConsumerConfig.model_validate(fields, context={"namespace": "app"}).batch
