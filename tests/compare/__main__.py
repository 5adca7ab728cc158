"""Compare Tasuki with other systems: ``python -m tests.compare [--peers …] [--brokers …] [--rounds N]``.

Each system is installed into its own environment, at the version that ``environments.py`` pins. The brokers are private
processes. Rounds interleave the systems; a cell is the median of its rounds, ``–`` where a system cannot do it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks.machine import brokers, machine
from tests.compare.cells import Site, measure
from tests.compare.environments import SYSTEMS, megabytes, prepare, version
from tests.support.brokers import template
from tests.support.brokers.everywhere import broker_of

_BROKERS = {"redis": "Redis", "amqp": "RabbitMQ", "postgres": "PostgreSQL", "nats": "NATS", "sqlite": "SQLite"}

Values = dict[tuple[str, str, str], list[float | str]]
"""By broker, system and cell."""


def main() -> int:
    """Measure, and print the tables; 1 if nothing could be measured."""
    arguments = _arguments()
    template.folder()
    ready, problems = {}, []
    chosen = {"tasuki", *arguments.peers}
    for name in (each for each in SYSTEMS if each in chosen and {*SYSTEMS[each].brokers} & {*arguments.brokers}):
        try:
            ready[name] = prepare(name, arguments.python)
        except (RuntimeError, OSError) as error:
            problems.append(f"{name}: {error}")
    values: Values = defaultdict(list)
    head = {"machine": machine(arguments.python), "brokers": brokers(arguments.brokers), "rounds": arguments.rounds}
    for broker in arguments.brokers:
        names = [name for name in ready if broker in SYSTEMS[name].brokers]
        for number, name in itertools.product(range(arguments.rounds), names):
            _say(f"{broker}, round {number + 1}, {name}")
            for cell, value in _round(name, ready[name], broker, is_first=number == 0):
                if cell == "problem":
                    problems.append(f"{name} on {_BROKERS[broker]}: {value}")
                    _say(f"  {value}")
                else:
                    values[broker, name, cell].append(value)
            if arguments.json:
                rows = [{"broker": b, "system": s, "cell": c, "values": found} for (b, s, c), found in values.items()]
                arguments.json.write_text(json.dumps({**head, "rows": rows, "problems": problems}, indent=1))
    print("\n".join(_page(head, values, sorted(set(problems)))))
    return not values


def _round(name: str, python: Path, broker: str, *, is_first: bool) -> Iterator[tuple[str, float | str]]:
    with tempfile.TemporaryDirectory() as folder:
        yield from measure(Site(name, python, broker, broker_of(broker), Path(folder)), is_first=is_first)


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare Tasuki with other systems on this machine.")
    parser.add_argument("--peers", nargs="*", choices=SYSTEMS, default=list(SYSTEMS), metavar="NAME")
    parser.add_argument("--brokers", nargs="*", choices=_BROKERS, default=list(_BROKERS), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", default=sys.executable, help="the interpreter of all systems")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values here, too")
    return parser.parse_args()


def _page(head: dict[str, object], values: Values, problems: Sequence[str]) -> list[str]:
    lines = [f"{key}: {value}" for key, value in head.items()]
    for broker, title in _BROKERS.items():
        names = [name for name in SYSTEMS if any(key[:2] == (broker, name) for key in values)]
        if not names:
            continue
        lines += ["", f"### {title}", "", f"| | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
        cells = dict.fromkeys(key[2] for key in values if key[0] == broker and " us of " not in key[2])
        for cell in cells:
            shown = [_shown(values, broker, name, cell) for name in names]
            cpu = " (CPU us here, broker)" if cell.endswith("/s") else ""
            lines.append(f"| {cell}{cpu} | {' | '.join(shown)} |")
    measured = [name for name in SYSTEMS if any(key[1] == name for key in values)]
    lines += ["", "| system | version | MB installed | defaults | best settings |", "|---|---|---:|---|---|"]
    for name in measured:
        system = SYSTEMS[name]
        size = f"{megabytes(name):.0f}"
        lines.append(f"| {name} | {version(name)} | {size} | {system.default} | {system.best} |")
    return [*lines, *(["", "Without a figure:", ""] if problems else []), *(f"- {each}" for each in problems)]


def _shown(values: Values, broker: str, name: str, cell: str) -> str:
    """A figure; a rate with the processor time of the system and of the broker."""
    title = cell.removesuffix("/s")
    where = (f"{title}us of {each}" for each in ("the worker", "the client", "the broker"))
    cpu = [_median(found) for each in where if (found := values.get((broker, name, each)))]
    return _median(values.get((broker, name, cell), [])) + (f" ({', '.join(cpu)})" if cpu else "")


def _median(found: Sequence[float | str]) -> str:
    numbers = [each for each in found if not isinstance(each, str)]
    if not numbers:
        return str(found[0]) if found else "–"
    value = statistics.median(numbers)
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2g}"


if __name__ == "__main__":
    sys.exit(main())
