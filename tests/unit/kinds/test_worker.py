"""``queue.worker``: its fields, what the check refuses, and what it warns of."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tasuki.kinds.check.consumers import concurrency_of, prefetch_of, shared_workers
from tasuki.kinds.check.warnings import warnings_of
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.worker import WorkerConfig
from tests.unit.kinds.conftest import Make

OTHERS = """\
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
    config = project(OTHERS + text).configs["app:w"]
    assert config == WorkerConfig(
        queues=["app:a", "app:b"], concurrency=8, order="weighted", weights={"app:a": 3, "app:b": 2}
    )


def test_the_defaults(project: Make) -> None:
    config = project(OTHERS + worker("queues: [a], concurrency: 2")).of(WorkerConfig)["app:w"]
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
def test_bad_values(problems: Callable[..., list[str]], fields: str, problem: str) -> None:
    found = problems(OTHERS + worker(fields))
    assert [text.partition("app:w: ")[2][: len(problem)] for text in found] == [problem]


def test_a_queue_has_one_pool(problems: Callable[..., list[str]]) -> None:
    text = worker("queues: [a], concurrency: 4", "v") + worker("queues: [b, a], concurrency: 4")
    [found] = problems(OTHERS + text)
    assert found == "11:47: app:w: queue 'app:a' has shared workers already: 'app:v'; name it in one of them"


@pytest.mark.parametrize(("concurrency", "expected"), [(2, (2, 2)), (8, (8, 3))])
def test_a_consumer_may_use_all_shared_workers_unless_it_says_less(
    project: Make, concurrency: int, expected: tuple[int, int]
) -> None:
    configs = project(OTHERS + worker(f"queues: [a, b], concurrency: {concurrency}")).configs
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
    configs = project(OTHERS + on_c + worker("queues: [c], concurrency: 16")).configs
    consumer, shared = configs["app:on-c"], shared_workers(configs)
    assert isinstance(consumer, ConsumerConfig)
    assert (concurrency_of(consumer, shared), prefetch_of(consumer, shared)) == expected


def test_a_consumer_of_its_own_keeps_its_concurrency(project: Make) -> None:
    configs = project(OTHERS + worker("queues: [a], concurrency: 8")).configs
    consumer = configs["app:on-b"]
    assert isinstance(consumer, ConsumerConfig)
    assert concurrency_of(consumer, shared_workers(configs)) == 3


def test_what_has_no_effect_is_warned_of(project: Make) -> None:
    warnings = [str(each) for each in warnings_of(project(OTHERS + worker("queues: [b, c], concurrency: 2")))]
    assert warnings == [
        "p.yaml:9:59: app:on-b: concurrency 3 is more than the 2 of its shared workers 'app:w'; "
        "lower it, or remove it to use all of them",
        "p.yaml:10:47: app:w: queue 'app:c' has no consumer to share workers; declare one, or remove the queue here",
    ]
