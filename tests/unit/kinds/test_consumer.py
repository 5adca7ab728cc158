from collections.abc import Callable

import pytest

from tasuki.kinds.entries.consumer import ConsumerConfig
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
