"""Run the measurements: ``python -m tests.benchmarks [PART…] [--rounds N] [--json FILE] [--against FILE]``.

A part is a subject, a driver or both: ``messages``, ``redis``, ``messages/redis``. Each round of each part is a process
of its own, which is ended at its bound; a part that fails is reported, and the rest goes on. Exit code 1 then.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.benchmarks.machine import brokers, client, machine
from tests.support.brokers import template
from tests.support.brokers.broker import tree

_DRIVERS: dict[str, tuple[str, ...]] = {
    "framework": ("",),
    "messages": ("memory", "sqlite", "redis", "postgres", "nats", "amqp", "sqs"),
    "depth": ("sqlite", "redis", "postgres"),
    "due": ("nats",),
    "keys": ("sqlite", "redis", "postgres", "nats"),
    "lanes": ("memory", "sqlite", "redis", "postgres"),
    "queues": ("memory", "sqlite", "redis", "postgres", "nats", "amqp"),
    "stores": ("memory", "sqlite", "redis", "postgres", "nats"),
    "failures": ("memory", "sqlite", "redis"),
    "isolation": ("",),
}
_BOUND = 240.0
"""Seconds for one round of a part; the longest takes a minute on two quiet cores."""

Figures = dict[str, dict[str, Any]]
"""Name to ``unit`` and ``values``, one a round."""


def main() -> int:
    """Print the machine, then the figures of each part; 1 if a part failed."""
    arguments = _arguments()
    parts = [(name, driver) for name, drivers in _DRIVERS.items() for driver in drivers]
    chosen = [part for part in parts if not arguments.parts or {*part, "/".join(part)} & set(arguments.parts)]
    if unknown := set(arguments.parts) - {word for part in parts for word in (*part, "/".join(part))}:
        print(f"no part is called {', '.join(sorted(unknown))}; there are: {', '.join(_DRIVERS)}, drivers, and both "
              "with a slash", file=sys.stderr)  # fmt: skip
        return 2
    template.folder()  # made once for all processes
    done: dict[str, Any] = {
        "machine": {**machine(), "uvloop": client("uvloop"), **brokers({driver for _, driver in chosen})},
        "parts": {},
    }
    for key, value in done["machine"].items():
        print(f"{key}: {value}")
    against = json.loads(arguments.against.read_text())["parts"] if arguments.against else {}
    failed = {}
    for name, driver in chosen:
        title = f"{name}/{driver}" if driver else name
        print(f"\n{title}", flush=True)
        figures, problem = _rounds(name, driver, arguments.rounds)
        done["parts"][title] = {"figures": figures, "problem": problem}
        _show(figures, against.get(title, {}).get("figures", {}))
        if problem is not None:
            print(f"  {problem}", flush=True)
            failed[title] = problem
        if arguments.json:
            arguments.json.write_text(json.dumps(done, indent=1))
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure throughput, latency and cost on this machine.")
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="such as messages, redis, messages/redis; without: all"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each figure is measured (3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values here, too")
    parser.add_argument("--against", type=Path, metavar="FILE", help="show how many times those of this file they are")
    return parser.parse_args()


def _rounds(name: str, driver: str, rounds: int) -> tuple[Figures, str | None]:
    """The figures of all rounds, and what went wrong; a round that fails is the last one."""
    found: Figures = defaultdict(lambda: {"unit": "", "values": []})
    for _ in range(rounds):
        with tempfile.TemporaryFile("w+") as errors:
            child = subprocess.Popen(
                [sys.executable, "-m", "tests.benchmarks.figures", name, driver],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            try:
                out, _ = child.communicate(timeout=_BOUND)
                problem = None if child.returncode == 0 else f"FAILED with exit code {child.returncode}"
            except subprocess.TimeoutExpired:
                problem = f"FAILED: not done after {_BOUND:.0f} s"
                for pid in reversed(tree(child.pid)):  # its brokers too
                    os.kill(pid, 9)
                out, _ = child.communicate()
            errors.seek(0)
            last = [line for line in errors.read().splitlines() if line.strip()][-8:]
        for line in out.splitlines():
            figure = json.loads(line)
            if isinstance(figure, str):
                print(f"  not measured: {figure}")
                return found, None
            found[figure[0]]["unit"] = figure[2]
            found[figure[0]]["values"].append(figure[1])
        if problem is not None:
            return found, "\n    ".join([problem, *last])
    return found, None


def _show(figures: Figures, before: Figures) -> None:
    for name, figure in figures.items():
        values = figure["values"]
        line = f"  {name:<58}{_text(statistics.median(values)):>10} {figure['unit']:<16}"
        line += f"({_text(min(values))} to {_text(max(values))})"
        if name in before:
            line += f"  {statistics.median(values) / statistics.median(before[name]['values']):.2f} x before"
        print(line, flush=True)


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"\n{time.monotonic() - started:.0f} s")
    sys.exit(code)
