"""How long a person waits for ``import tasuki`` and ``tasuki --help``."""

from __future__ import annotations

import subprocess
import sys
import time


def _best(command: list[str], repeats: int = 7) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
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
