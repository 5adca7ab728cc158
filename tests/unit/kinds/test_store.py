from __future__ import annotations

import pytest

from tasuki.kinds.check.warnings import warnings_of
from tasuki.kinds.entries.store import DriverStoreConfig, MemoryStoreConfig
from tests.unit.kinds.conftest import Make, Problems

DRIVERS = """
  - {name: sqlite, kind: queue.driver.sqlite}
  - {name: postgres, kind: queue.driver.postgres}
  - {name: redis, kind: queue.driver.redis}
  - {name: nats, kind: queue.driver.nats}
  - {name: memory, kind: queue.driver.memory}
  - {name: amqp, kind: queue.driver.amqp}
"""


def test_a_store(project: Make) -> None:
    text = "  - {name: a, kind: store.memory}\n  - {name: b, kind: store.memory, max_size: 0, cleanup_interval: 1s}\n"
    configs = project(text).of(MemoryStoreConfig)
    assert (configs["app:a"].max_size, configs["app:a"].cleanup_interval) == (10_000, 300.0)
    assert (configs["app:b"].max_size, configs["app:b"].cleanup_interval) == (0, 1.0)


def test_bad_values(problems: Problems) -> None:
    assert problems("  - {name: a, kind: store.memory, max_size: -1, cleanup_interval: 0}\n") == [
        "3:35: app:a: max_size must be at least 0, not the number -1",
        "3:49: app:a: cleanup_interval must be more than 0, not the number 0",
    ]


@pytest.mark.parametrize("driver", ["sqlite", "postgres", "redis", "nats"])
def test_a_store_of_each_driver(project: Make, driver: str) -> None:
    made = project(f"{DRIVERS}  - {{name: s, kind: store.{driver}, driver: {driver}, store_name: carts}}\n")
    assert made.of(DriverStoreConfig)["app:s"].driver == f"app:{driver}"
    assert made.edges["app:s"] == (f"app:{driver}",)


@pytest.mark.parametrize(
    ("kind", "driver", "problem"),
    [
        (
            "sqlite",
            "redis",
            "a store.sqlite needs a queue.driver.sqlite, but 'app:redis' is a queue.driver.redis; "
            "make it a store.redis, or name another driver",
        ),
        (
            "nats",
            "memory",
            "a store.nats needs a queue.driver.nats, but 'app:memory' is a queue.driver.memory; "
            "make it a store.memory without a driver, or name another driver",
        ),
        (
            "redis",
            "amqp",
            "driver 'app:amqp' (amqp) has no store; name a driver of these kinds: sqlite, postgres, redis, nats",
        ),
    ],
)
def test_a_driver_of_another_kind(problems: Problems, kind: str, driver: str, problem: str) -> None:
    assert problems(f"{DRIVERS}  - {{name: s, kind: store.{kind}, driver: {driver}}}\n") == [
        f"10:{29 + len(kind)}: app:s: {problem}"
    ]


def test_mistakes(problems: Problems) -> None:
    [missing] = problems("  - {name: s, kind: store.redis}\n")
    assert missing == "3:5: app:s: the field 'driver' is missing; driver: the driver whose connection it uses"
    [unknown] = problems("  - {name: s, kind: store.redis, driver: red}\n")
    assert "store 'app:s' refers to driver 'app:red', which is not defined" in unknown
    [own] = problems(f"{DRIVERS}  - {{name: s, kind: store.redis, driver: redis, store_name: state}}\n")
    assert own.endswith("app:s: store_name: 'state' is the driver's own store; choose another")


@pytest.mark.parametrize(
    "entries",
    [
        "{name: d, kind: queue.driver.amqp}\n  - {name: q, kind: queue.queue, driver: d, state: s}",
        "{name: d, kind: queue.driver.amqp, state: s}\n  - {name: q, kind: queue.queue, driver: d}",
    ],
    ids=["queue", "driver"],
)
def test_a_state_in_the_memory_of_one_process(problems: Problems, entries: str) -> None:
    [problem] = problems(f"  - {{name: s, kind: store.memory}}\n  - {entries}\n")
    assert problem.endswith(
        "store 'app:s' is a store.memory, which no other process sees: no state can be in it; "
        "name a store of a driver (store.sqlite, store.postgres, store.redis, store.nats)"
    )


def test_a_store_is_swapped_from_the_command_line(project: Make) -> None:
    text = f"{DRIVERS}  - {{name: s, kind: store.redis, driver: redis, store_name: carts}}\n"
    made = project(text, overrides=("app:s:kind=store.memory",))
    assert made.of(MemoryStoreConfig)["app:s"].max_size == 10_000


@pytest.mark.parametrize("driver", ["memory", "sqlite", "postgres", "nats"])
def test_a_driver_that_is_swapped_takes_its_stores_along(project: Make, driver: str) -> None:
    text = f"{DRIVERS}  - {{name: s, kind: store.redis, driver: redis}}\n"
    made = project(text, overrides=(f"app:redis:kind=queue.driver.{driver}", "app:amqp:kind=queue.driver.memory"))
    assert made.of(DriverStoreConfig)["app:s"].driver == "app:redis"


TWO = """
  - {{name: state, kind: store.redis, driver: redis}}
  - {{name: jobs, kind: queue.queue, driver: amqp, queue_name: jobs, state: state}}
  - {{name: others, kind: queue.queue, driver: nats, queue_name: {name}, state: state}}
  - {{name: own, kind: queue.queue, driver: redis, queue_name: jobs}}
"""


def test_queues_of_one_name_in_one_store_are_told(project: Make) -> None:
    found = warnings_of(project(DRIVERS + TWO.format(name="jobs")))
    [warning] = [each for each in found if "the same store" in each.problem]
    assert str(warning).startswith("p.yaml:13:53: app:others: 'app:jobs' has the same name at its broker, 'jobs', ")
    assert "give one a queue_name or its own store" in warning.hint
    found = warnings_of(project(DRIVERS + TWO.format(name="other")))
    assert not [each for each in found if "the same store" in each.problem]
