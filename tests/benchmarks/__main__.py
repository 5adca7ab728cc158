"""Run the measurements: all, or those named (``overhead``, ``brokers [DRIVER…]``, ``queues [DRIVER…]``, …)."""

from __future__ import annotations

import importlib
import os
import platform
import sqlite3
import sys
import sysconfig

CASES = {
    "overhead": "Overhead of the framework (one process, publish in batches, handle, ack; metrics on)",
    "metrics": "Metrics: counting a message, a scrape, the sum of several processes",
    "tasks": "Tasks: arguments at the publisher and at the worker",
    "batch": "Batches of 100: a handler with one round trip of 1 ms a call, beside single messages",
    "depth": "SQLite with many messages waiting (synchronous=FULL)",
    "redis": "Redis with many messages waiting (what each script holds the server)",
    "brokers": "Every driver with its broker, all on this machine (no-op handler, 190-byte JSON bodies)",
    "postgres": "PostgreSQL: order per key with many workers, idle workers and queues, a large queue",
    "stores": "Stores: calls, watches, pages (names of drivers may follow)",
    "limits": "Limits and lanes: beside plain queues, and beside blocked messages (``--driver NAME`` may follow)",
    "tenants": "A tenant with a message a second beside 100,000 of another (names of drivers may follow)",
    "rate": "A rate of 50 a second over four processes (names of drivers may follow)",
    "queues": "Many consumed queues in one process: idle, and beside a message of another queue",
    "amqp_queues": "Thousands of queues in one process (RabbitMQ)",
    "failures": "A storm of failures: with attempt records and without",
    "traces": "Traces: CPU a message with and without (memory driver, no-op handler, 190-byte JSON bodies)",
    "startup": "Start-up",
    "isolation": "Isolation of handlers: threads and processes",
}
_WITH_DRIVERS = (["brokers"], ["queues"], ["stores"], ["limits"], ["tenants"], ["rate"])
"""What follows these are names of drivers."""


def main() -> None:
    """Print which machine this is, then each report."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    build = "optimised build" if optimised else "built without --enable-optimizations"
    print(f"CPython {platform.python_version()} ({build}), SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores\n")
    names = sys.argv[1:2] if sys.argv[1:2] in _WITH_DRIVERS else sys.argv[1:]
    for name in names or CASES:
        print(CASES[name])
        importlib.import_module(f"tests.benchmarks.{name}").report()
        print()


if __name__ == "__main__":
    main()
