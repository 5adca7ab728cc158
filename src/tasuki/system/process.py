"""This process: its user, its memory and its processor time."""

from __future__ import annotations

import getpass
import os
import resource
import socket
import sys
from functools import cache


@cache
def user() -> str:
    """The user's name; without one, as in some containers, the host."""
    return user_and_host().partition("@")[0]


@cache
def user_and_host() -> str:
    """``kana@laptop``; without a user's name, as in some containers, the host alone."""
    host = socket.gethostname()
    try:
        return f"{getpass.getuser()}@{host}"
    except (OSError, KeyError, ImportError):  # no such user is known
        return host


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
