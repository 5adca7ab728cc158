"""This process: its user, memory and processor time; limits after which a worker process is replaced."""

from __future__ import annotations

import getpass
import os
import resource
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from tasuki.units import format_duration, format_size


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


_SPREAD = 0.1
"""Share of the age by which processes that started together differ, so that they do not all end together."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Handled messages, resident bytes and seconds after which a process ends; None: no limit."""

    messages: int | None = None
    memory: int | None = None
    age: float | None = None

    def __bool__(self) -> bool:
        """Whether there is any."""
        return (self.messages, self.memory, self.age) != (None, None, None)

    def reached(self, messages: int, memory: Callable[[], int], age: float) -> str:
        """Which limit is reached, in words; empty if none is. ``memory`` is called only where it matters."""
        if self.messages is not None and messages >= self.messages:
            return f"it has handled {messages} messages (at most {self.messages})"
        if self.age is not None and age >= self.age:
            return f"it has run for {format_duration(round(age))} (at most about {format_duration(self.age)})"
        if self.memory is not None and (held := memory()) >= self.memory:
            return f"it holds {held // 2**20} MiB of memory (at most {format_size(self.memory)})"
        return ""

    def spread(self, share: float) -> Limits:
        """The limits of one process, whose age is up to a tenth shorter; ``share`` is from 0 to 1."""
        return self if self.age is None else replace(self, age=self.age * (1 - _SPREAD * share))


NO_LIMITS = Limits()
