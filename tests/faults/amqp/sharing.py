"""A processor that some programs have for themselves, as far as it can be had on a machine with others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def busy_loops(number: int) -> Iterator[list[int]]:
    """Processes that compute without a pause; their ids."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield [loop.pid for loop in loops]
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def processor_time(pid: int) -> float:
    """Seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


class Share:
    """Which share of the machine some processes have had from now on; idle time is theirs, too."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._theirs, self._all = self._now()

    def __call__(self) -> float:
        """From 0 to 1."""
        theirs, total = self._now()
        return min((theirs - self._theirs) / max(total - self._all, 1 / _TICKS), 1.0)

    def _now(self) -> tuple[float, float]:
        times = [int(field) / _TICKS for field in Path("/proc/stat").read_text().split()[1:9]]
        idle = times[3] + times[4]
        return sum(map(processor_time, self._pids)) + idle, sum(times)
