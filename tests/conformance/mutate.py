"""Run the mutants of ``tasuki.testing.mutants`` against the drivers here: ``make mutate``.

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
    return suite_at(path_of(name))


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2] / "examples/mariadb-driver/src"))  # as pytest does
    sys.exit(main([path_of(name) for name in sys.argv[1:] or SUITES]))
