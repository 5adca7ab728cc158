"""The memory that a process holds."""

from __future__ import annotations

import os
import resource
import sys

_PAGE = resource.getpagesize()


def resident_bytes(pid: int | None = None) -> int:
    """Resident memory of a process (None: this one); where the system does not say: this one's most so far, else 0."""
    try:
        with open(f"/proc/{os.getpid() if pid is None else pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if pid is None else 0
        return most if sys.platform == "darwin" else most * 1024
