"""The memory and the processor time of a process."""

from __future__ import annotations

import os
import resource
import sys

_PAGE = resource.getpagesize()
_TICK = 1 / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int | None = None) -> int:
    """Resident memory of a process (None: this one); where the system does not say: this one's most so far, else 0."""
    try:
        with open(f"/proc/{os.getpid() if pid is None else pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if pid is None else 0
        return most if sys.platform == "darwin" else most * 1024


def processor_seconds(pid: int) -> float:
    """Processor time of all threads of a process; 0.0 where the system does not say."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # Behind the name, which may have blanks and brackets: state is field 3, utime and stime are 14 and 15.
            fields = file.read().rpartition(b")")[2].split()
            return (int(fields[11]) + int(fields[12])) * _TICK
    except (OSError, IndexError, ValueError):
        return 0.0
