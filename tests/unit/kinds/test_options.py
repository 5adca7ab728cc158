from collections.abc import Callable

import pytest

from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.queue import QueueConfig
from tests.unit.kinds.conftest import Make, Problems

DRIVERS = "  - {name: memory, kind: queue.driver.memory}\n  - {name: sqlite, kind: queue.driver.sqlite}\n"

MakeQueue = Callable[..., QueueConfig]


@pytest.fixture
def queue(project: Make) -> MakeQueue:
    def make(fields: str, driver: str = "memory") -> QueueConfig:
        text = f"{DRIVERS}  - {{name: q, kind: queue.queue, driver: {driver}, {fields}}}\n"
        return project(text).of(QueueConfig)["app:q"]

    return make


@pytest.fixture
def wrong(problems: Problems) -> Problems:
    def find(fields: str, driver: str = "memory") -> list[str]:
        texts = problems(f"{DRIVERS}  - {{name: q, kind: queue.queue, driver: {driver}, {fields}}}\n")
        return [text.partition("app:q: ")[2] for text in texts]

    return find


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ("options: {max_length: 1}", 1),
        ("options: {max_length: 1}, driver_options: {max_length: 2}", 2),
        ("options: {max_length: 1}, driver_options: {max_length: 2, memory: {max_length: 3}}", 3),
        ("driver_options: {memory: {max_length: 3}, sqlite: {max_length: 4}}", 3),
        ("driver_options: {sqlite: {max_length: 4}}", None),
        ("max_length: 9, options: {max_length: 1}", 9),
        ("max_length: 0, options: {max_length: 1}", 1),
        ("options: {max_length: 0}", None),
    ],
)
def test_options_are_merged_for_the_driver_in_use(queue: MakeQueue, fields: str, length: int | None) -> None:
    config = queue(fields)
    assert config.max_length == length


def test_the_options_in_force_replace_those_that_were_written(queue: MakeQueue) -> None:
    config = queue("driver_options: {sqlite: {max_length: 4}, max_length: 2}", driver="sqlite")
    assert config.options == {"max_length": 4}


def test_dormant_options_are_checked_too(wrong: Problems) -> None:
    assert wrong("driver_options: {sqlite: {max_lenght: 4}}") == [
        "unknown sqlite option 'max_lenght'; did you mean 'max_length'?"
    ]
    assert wrong("driver_options: {sqlite: {max_length: many}}") == [
        "sqlite option max_length must be a whole number, not the text 'many'"
    ]


def test_they_are_checked_even_if_the_driver_is_missing(wrong: Problems) -> None:
    texts = wrong("options: {x: 1}, driver_options: {sqlite: {max_length: -4}}", driver="gone")
    assert texts[0].startswith("queue 'app:q' refers to driver 'app:gone', which is not defined")
    assert texts[1:] == ["sqlite option max_length must be at least 0, not the number -4"]


def test_unknown_options_are_reported_where_they_stand(problems: Problems) -> None:
    text = f"""{DRIVERS}\
  - name: q
    kind: queue.queue
    driver: memory
    options:
      durable: true
    driver_options:
      exclusive: true
      memory:
        lazy: true
      sqlight: {{max_length: 5}}
"""
    assert problems(text) == [
        "9:7: app:q: unknown memory option 'durable'; known are: max_length",
        "11:7: app:q: unknown memory option 'exclusive'; known are: max_length",
        "13:9: app:q: unknown memory option 'lazy'; known are: max_length",
        "14:7: app:q: unknown memory option 'sqlight'; known are: max_length",
    ]


def test_a_bag_is_a_mapping(wrong: Problems) -> None:
    assert wrong("driver_options: {memory: 5, amqp: x}") == [
        "driver_options.memory must be a mapping, not the number 5",
        "driver_options.amqp must be a mapping, not the text 'x'",
    ]


CONSUMER = (
    DRIVERS
    + """\
  - {name: q, kind: queue.queue, driver: memory}
  - {name: f, kind: function.lua, source: return 1}
"""
)


def test_a_consumer_has_the_options_of_its_queues_driver(project: Make, problems: Problems) -> None:
    text = CONSUMER + "  - {name: c, kind: queue.consumer, queue: q, func: f, driver_options: {sqlite: {}}}\n"
    assert project(text).of(ConsumerConfig)["app:c"].driver_options == {}
    text = CONSUMER + "  - {name: c, kind: queue.consumer, queue: q, func: f, driver_options: {exclusive: true}}\n"
    assert problems(text) == ["7:73: app:c: unknown memory option 'exclusive'; there are none"]
    text = CONSUMER + "  - {name: c, kind: queue.consumer, queue: q, func: f, driver_options: {sqlite: {x: 1}}}\n"
    assert problems(text) == ["7:82: app:c: unknown sqlite option 'x'; there are none"]
