"""What a child process gives up before it runs anything of others: rights, and most of its resources."""

from __future__ import annotations

import math
import os
import resource
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_ROOM = 48 * 2**20
"""Bytes beside twice the memory limit: frames, the interpreter's own growth, a second runtime."""
_STACK = 9 * 2**20
"""Bytes of a thread's stack, and a little."""
_CPU_ROOM = 2
"""Seconds of processor time beside the limit of one call; the worker's own watch is more exact."""


def leave_with_parent(parent: int) -> None:
    """Be killed when the worker ends, whatever way it ends.

    Args:
        parent: the worker's process id: if it is our parent no more, it has ended already, and so do we.
    """
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def confine(memory: int | None, *, strangers: bool) -> None:
    """Set the limits of this process; they can only become tighter.

    Args:
        memory: bytes that its code may use beside the interpreter, as counted by :func:`address_space`.
        strangers: the code is not trusted: no files, no processes, no new rights. (A user ``root`` may make
            processes whatever RLIMIT_NPROC says.)
    """
    if memory is not None:
        _limit("RLIMIT_AS", address_space(memory))
    _limit("RLIMIT_CORE", 0)
    if strangers:
        _limit("RLIMIT_NOFILE", 16)
        _limit("RLIMIT_NPROC", 0)
        _limit("RLIMIT_FSIZE", 0)
        if sys.platform == "linux":
            _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def confine_memory(memory: int, threads: int) -> None:
    """Limit what trusted code may use beside what it uses now; each of its threads may have a stack more."""
    _limit("RLIMIT_CORE", 0)
    if sys.platform == "linux":  # the address space would count what threads reserve and never use
        _limit("RLIMIT_DATA", _data_used() + memory + threads * _STACK + _ROOM // 3)
    else:
        _limit("RLIMIT_AS", _used() + memory + threads * _STACK + _ROOM)


def address_space(memory: int) -> int:
    """Bytes of address space for code that may use so much: a value is there twice while it crosses."""
    return _used() + 2 * memory + _ROOM


class ProcessorTime:
    """RLIMIT_CPU as a limit of what comes next, not of the process's whole life: it moves on with the work done.

    A last net below the worker's watch, for the case that the worker itself is held up.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    def move(self) -> None:
        """Call between two steps."""
        used = time.process_time()
        if used >= self._next:
            self._next = used + min(self._seconds, 1.0) / 2
            soft = math.ceil(self._next + self._seconds) + _CPU_ROOM
            resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _limit(name: str, value: int) -> None:
    number = getattr(resource, name, None)
    if number is None:
        return
    try:
        hard = resource.getrlimit(number)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (value, value))
    except (OSError, ValueError):
        if sys.platform == "linux":  # elsewhere some limits are there in name only
            raise


def _used() -> int:
    """Bytes of address space that this process has now."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 512 * 2**20


def _data_used() -> int:
    """Bytes of private writable memory that this process has now."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return _used()


def _prctl(option: int, value: int) -> None:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl {option}")
