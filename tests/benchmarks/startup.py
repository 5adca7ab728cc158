"""How long a person waits for ``import tasuki`` and ``tasuki --help``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path


def _best(command: list[str], repeats: int = 7) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    return min(times) * 1000


def _load_and_check(queues: int = 300) -> float:
    """Best milliseconds of CPU to read and check a project of that many queues."""
    from tasuki import App

    entry = (
        "  - {{name: q{}, kind: queue.queue, driver: memory, dead_letter: {{queue: dead}}, retry: {{max_delay: 1m}}}}\n"
    )
    head = "namespace: app\nentries:\n  - {name: memory, kind: queue.driver.memory}\n"
    dead = "  - {name: dead, kind: queue.queue, driver: memory}\n"
    times = []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "_index.yaml").write_text(head + dead + "".join(map(entry.format, range(queues))))
        for _ in range(7):
            started = time.process_time()
            App.load(folder).check()
            times.append(time.process_time() - started)
    return min(times) * 1000


def report() -> None:
    """Print one line a command; what the interpreter itself takes is shown beside it."""
    bare = _best([sys.executable, "-c", "pass"])
    cases = (
        ("import tasuki", ["-c", "import tasuki"], 150),
        ("from tasuki import App", ["-c", "from tasuki import App"], None),
        ("tasuki --help", ["-m", "tasuki", "--help"], 200),
    )
    for name, arguments, goal in cases:
        took = _best([sys.executable, *arguments])
        verdict = "" if goal is None else f"; goal {goal} ms: {'met' if took <= goal else 'MISSED'}"
        print(f"  {name:28} {took:6.0f} ms   (interpreter alone {bare:.0f} ms{verdict})")
    print(f"  {'load and check 300 queues':28} {_load_and_check():6.0f} ms CPU")
