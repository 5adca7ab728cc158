"""Run the mutants of ``tasuki.testing.mutants`` against the drivers here and their stores: ``make mutate``.

``python -m tests.conformance.mutate [DRIVER…]``; without names, all drivers.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tasuki.testing.conformance import DriverConformance
from tasuki.testing.mutants.__main__ import main, suite_at

SUITES = {
    "memory": "test_memory:TestMemory",
    "directory": "test_directory:TestDirectory",
    "sqlite": "test_sqlite:TestSQLite",
    "redis": "test_redis:TestRedis",
    "valkey": "test_redis:TestValkey",
    "amqp": "test_amqp:TestAMQP",
    "sqs": "test_sqs:TestSQS",
    "postgres": "test_postgres:TestPostgres",
    "nats": "test_nats:TestNATS",
    "mariadb": "test_mariadb:TestMariaDb",
}


def path_of(name: str) -> str:
    """The import path of a driver's suite class; the name is a key of SUITES."""
    return f"tests.conformance.{SUITES[name]}"


def suite_of(name: str) -> type[DriverConformance]:
    """The suite class of a driver; the name is a key of SUITES."""
    found = suite_at(path_of(name))
    assert issubclass(found, DriverConformance)
    return found


def store_path_of(name: str) -> str | None:
    """The import path of the suite class of a driver's store; None: it has none."""
    module = SUITES[name].partition(":")[0]
    if not (Path(__file__).parent / f"stores/{module}.py").exists():
        return None
    return f"tests.conformance.stores.{SUITES[name]}Store"


def paths_of(name: str) -> list[str]:
    """The import paths of all suites of a driver."""
    return [path_of(name), *filter(None, [store_path_of(name)])]


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2] / "examples/mariadb-driver/src"))  # as pytest does
    sys.exit(main([path for name in sys.argv[1:] or SUITES for path in paths_of(name)]))
