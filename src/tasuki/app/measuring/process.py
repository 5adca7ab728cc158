"""Figures of this process: the operating system's and its own counts."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from tasuki.observe.log import LogHandler
from tasuki.observe.metrics import PROCESS
from tasuki.system.process import resident_bytes

_BEGAN = time.time()
"""When the package was imported, at the start of the process."""


def process_part() -> dict[str, Any]:
    """The part ``process`` of a snapshot, but for the dropped series."""
    handlers = [each for each in logging.getLogger().handlers if isinstance(each, LogHandler)]
    return {
        "loop_lag": PROCESS.loop_lag,
        "loop_blocked": PROCESS.loop_blocked,
        "acts": {act: dict(results) for act, results in PROCESS.acts.copy().items()},
        "log_lines_dropped": sum(handler.dropped for handler in handlers),
        **usage(),
    }


def usage() -> dict[str, float]:
    """What it takes of the machine."""
    used: dict[str, float] = {
        "start_time": _BEGAN,
        "cpu_seconds": time.process_time(),
        "resident_bytes": resident_bytes(),
    }
    try:
        used["open_fds"] = len(os.listdir("/dev/fd"))
    except OSError:  # the system does not show them
        pass
    return used
