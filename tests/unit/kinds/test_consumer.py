from __future__ import annotations

from collections.abc import Callable

import pytest

from tasuki.kinds.check.consumers import concurrency_of, prefetch_of, shared_workers
from tasuki.kinds.check.warnings import warnings_of
from tasuki.kinds.entries.consumer import ConsumerConfig, WorkerConfig
from tests.support.narrow import present
from tests.unit.kinds.conftest import Make, Problems

OTHERS = """\
  - {name: d, kind: queue.driver.memory}
  - {name: q, kind: queue.queue, driver: d}
  - {name: f, kind: function.lua, source: return 1}
"""

MakeConsumer = Callable[..., ConsumerConfig]


@pytest.fixture
def consumer(project: Make) -> MakeConsumer:
    def make(fields: str = "") -> ConsumerConfig:
        text = f"{OTHERS}  - {{name: c, kind: queue.consumer, queue: q, func: f{fields}}}\n"
        return project(text).of(ConsumerConfig)["app:c"]

    return make


def test_the_defaults(consumer: MakeConsumer) -> None:
    config = consumer()
    assert (config.queue, config.func) == ("app:q", "app:f")
    assert (config.concurrency, config.prefetch, config.auto_ack) == (1, 10, False)
    assert (config.handler_timeout, config.retry) == (None, None)
    assert not config.lifecycle.auto_start


def test_the_largest_values(consumer: MakeConsumer) -> None:
    config = consumer(", concurrency: 1000, prefetch: 10000, auto_ack: true, handler_timeout: 2m, retry: {jitter: 0}")
    assert (config.concurrency, config.prefetch, config.auto_ack) == (1000, 10000, True)
    assert config.handler_timeout == 120
    assert present(config.retry).jitter == 0


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (", concurrency: 1001", "concurrency 1001 exceeds maximum 1000"),
        (", prefetch: 10001", "prefetch 10001 exceeds maximum 10000"),
        (", concurrency: 0", "concurrency must be at least 1, not the number 0"),
        (", concurrency: -1", "concurrency must be at least 1, not the number -1"),
        (", concurrency: true", "concurrency must be a whole number, not true"),
        (", concurrency: null", "concurrency must be a whole number, not nothing"),
        (", auto_ack: no", "auto_ack must be true or false, not the text 'no'; write false"),
        (", auto_ack: 0", "auto_ack must be true or false, not the number 0"),
        (", handler_timeout: 0", "handler_timeout must be more than 0, not the number 0"),
        (", concurency: 4", "unknown field 'concurency'; did you mean 'concurrency'?"),
        (", lifecycle: true", "lifecycle must be a mapping, not true"),
    ],
)
def test_bad_values(problems: Problems, fields: str, problem: str) -> None:
    [text] = problems(f"{OTHERS}  - {{name: c, kind: queue.consumer, queue: q, func: f{fields}}}\n")
    assert text.partition("app:c: ")[2].partition("; its fields are")[0] == problem


def test_it_consumes_queues_with_functions(problems: Problems) -> None:
    texts = problems(f"{OTHERS}  - {{name: c, kind: queue.consumer, queue: f, func: q}}\n")
    assert [text.partition("app:c: ")[2] for text in texts] == [
        "consumer 'app:c' refers to queue 'app:f', which is a function.lua; name a queue.queue",
        "consumer 'app:c' refers to function 'app:q', which is a queue.queue; name a function",
    ]


OTHER_NAMES = """\
  - {name: d, kind: queue.driver.memory}
  - {name: f, kind: function.lua, source: return 1}
  - {name: a, kind: queue.queue, driver: d, dead_letter: null}
  - {name: b, kind: queue.queue, driver: d, dead_letter: null}
  - {name: c, kind: queue.queue, driver: d, dead_letter: null}
  - {name: on-a, kind: queue.consumer, queue: a, func: f, lifecycle: {auto_start: true}}
  - {name: on-b, kind: queue.consumer, queue: b, func: f, concurrency: 3, lifecycle: {auto_start: true}}
"""


def worker(fields: str, name: str = "w") -> str:
    return f"  - {{name: {name}, kind: queue.worker, {fields}}}\n"


def test_its_fields(project: Make) -> None:
    text = worker("queues: [a, 'app:b'], concurrency: 8, order: weighted, weights: {a: 3, 'app:b': 2}")
    config = project(OTHER_NAMES + text).configs["app:w"]
    assert config == WorkerConfig(
        queues=["app:a", "app:b"], concurrency=8, order="weighted", weights={"app:a": 3, "app:b": 2}
    )


def test_the_defaults_of_shared_workers(project: Make) -> None:
    config = project(OTHER_NAMES + worker("queues: [a], concurrency: 2")).of(WorkerConfig)["app:w"]
    assert (config.order, config.weights) == ("fair", {})


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("queues: [a]", "the field 'concurrency' is missing"),
        ("concurrency: 4", "the field 'queues' is missing"),
        ("queues: [], concurrency: 4", "queues is empty: name the queues whose consumers share these workers"),
        ("queues: [a, 'app:a'], concurrency: 4", "queues names 'app:a' twice; remove one of them"),
        ("queues: [a], concurrency: 1001", "concurrency 1001 exceeds maximum 1000"),
        ("queues: [a], concurrency: 0", "concurrency must be at least 1, not the number 0"),
        ("queues: [a], concurrency: 4, order: random", "order must be 'fair', 'weighted' or 'strict'"),
        ("queues: [a], concurrency: 4, weights: {a: 2}", "weights have no effect with order: fair; write order: weigh"),
        (
            "queues: [a], concurrency: 4, order: weighted, weights: {aa: 2}",
            "weights names 'app:aa', which is not among its queues; did you mean 'app:a'?",
        ),
        ("queues: [a], concurrency: 4, order: weighted, weights: {a: 0}", "weights.a must be at least 1"),
        (
            "queues: [a], concurrency: 4, order: weighted, weights: {a: 2, 'app:a': 3}",
            "weights names 'app:a' twice; remove one of them",
        ),
        ("consumers: [on-a], queues: [a], concurrency: 4", "unknown field 'consumers'; name their queues"),
        ("queues: [x], concurrency: 4", "worker 'app:w' refers to queue 'app:x', which is not defined"),
        ("queues: [f], concurrency: 4", "worker 'app:w' refers to queue 'app:f', which is a function.lua"),
    ],
)
def test_bad_values_of_shared_workers(problems: Callable[..., list[str]], fields: str, problem: str) -> None:
    found = problems(OTHER_NAMES + worker(fields))
    assert [text.partition("app:w: ")[2][: len(problem)] for text in found] == [problem]


def test_a_queue_has_one_pool(problems: Callable[..., list[str]]) -> None:
    text = worker("queues: [a], concurrency: 4", "v") + worker("queues: [b, a], concurrency: 4")
    [found] = problems(OTHER_NAMES + text)
    assert found == "11:47: app:w: queue 'app:a' has shared workers already: 'app:v'; name it in one of them"


@pytest.mark.parametrize(("concurrency", "expected"), [(2, (2, 2)), (8, (8, 3))])
def test_a_consumer_may_use_all_shared_workers_unless_it_says_less(
    project: Make, concurrency: int, expected: tuple[int, int]
) -> None:
    configs = project(OTHER_NAMES + worker(f"queues: [a, b], concurrency: {concurrency}")).configs
    consumers = [configs["app:on-a"], configs["app:on-b"]]
    shared = shared_workers(configs)
    assert expected == tuple(concurrency_of(each, shared) for each in consumers if isinstance(each, ConsumerConfig))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("", (16, 16)),
        ("prefetch: 2", (2, 2)),
        ("prefetch: 50", (16, 50)),
        ("concurrency: 4", (4, 10)),
        ("concurrency: 12", (12, 12)),
        ("concurrency: 4, prefetch: 2", (4, 2)),
    ],
)
def test_only_what_a_consumer_states_is_a_limit(project: Make, fields: str, expected: tuple[int, int]) -> None:
    on_c = f"  - {{name: on-c, kind: queue.consumer, queue: c, func: f, {fields}}}\n"
    configs = project(OTHER_NAMES + on_c + worker("queues: [c], concurrency: 16")).configs
    consumer, shared = configs["app:on-c"], shared_workers(configs)
    assert isinstance(consumer, ConsumerConfig)
    assert (concurrency_of(consumer, shared), prefetch_of(consumer, shared)) == expected


def test_a_consumer_of_its_own_keeps_its_concurrency(project: Make) -> None:
    configs = project(OTHER_NAMES + worker("queues: [a], concurrency: 8")).configs
    consumer = configs["app:on-b"]
    assert isinstance(consumer, ConsumerConfig)
    assert concurrency_of(consumer, shared_workers(configs)) == 3


def test_what_has_no_effect_is_warned_of(project: Make) -> None:
    warnings = [str(each) for each in warnings_of(project(OTHER_NAMES + worker("queues: [b, c], concurrency: 2")))]
    assert warnings == [
        "p.yaml:9:59: app:on-b: concurrency 3 is more than the 2 of its shared workers 'app:w'; "
        "lower it, or remove it to use all of them",
        "p.yaml:10:47: app:w: queue 'app:c' has no consumer to share workers; declare one, or remove the queue here",
    ]
