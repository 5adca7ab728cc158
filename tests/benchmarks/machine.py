"""What figures depend on: interpreter, machine, and the versions of the brokers."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PROGRAMS = {
    "redis": ("redis-server", "--version"),
    "postgres": ("postgres", "/usr/lib/postgresql/*/bin/postgres", "--version"),
    "nats": ("nats-server", "--version"),
}
_RABBITMQ = "usr/lib/rabbitmq/lib/rabbitmq_server-*"
"""Its program starts a whole Erlang to say its version; the name of this folder has it."""


_BUILD = """\
import json, platform, sysconfig, time
said = " ".join(str(sysconfig.get_config_var(name)) for name in ("CONFIG_ARGS", "PY_CFLAGS", "PY_LDFLAGS"))
how = "with" if "--enable-optimizations" in said or "-fprofile-use" in said else "without"
best = 9.0
for _ in range(5):
    began, counts = time.process_time(), {}
    for turn in range(300_000):
        counts[turn % 100] = counts.get(turn % 100, 0) + len(str(turn))
    best = min(best, time.process_time() - began)
print(f"{platform.python_implementation()} {platform.python_version()}, its build says {how} --enable-optimizations; "
      f"a loop of 300,000 turns takes {best * 1e3:.0f} ms")
"""
# A distribution does not always say how it was optimised: the loop does.


def machine(python: str = sys.executable) -> dict[str, str]:
    """Of an interpreter and this machine, in words."""
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = re.findall(r"model name\s*: (.*)", told) or [platform.machine()]
    done = subprocess.run([python, "-c", _BUILD], capture_output=True, text=True, timeout=60, check=True)
    return {
        "interpreter": done.stdout.strip(),
        "machine": f"{os.cpu_count()} cores ({names[0]}), {platform.system()} {platform.release()}",
        "load": f"{os.getloadavg()[0]:.1f} before it began",
    }


def client(package: str) -> str:
    """The version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def brokers(drivers: Iterable[str]) -> dict[str, str]:
    """The versions of the servers of these drivers."""
    found = {"sqlite": sqlite3.sqlite_version}
    for driver in sorted(drivers):
        *programs, argument = _PROGRAMS.get(driver, ("",))
        paths = (shutil.which(name) or next(map(str, Path("/").glob(name.lstrip("/"))), None) for name in programs)
        told = " ".join(each.name for each in Path("/").glob(_RABBITMQ)) if driver == "amqp" else ""
        if (program := next(filter(None, paths), None)) is not None:
            done = subprocess.run([program, argument], capture_output=True, text=True, timeout=60, check=False)
            told = done.stdout + done.stderr
        if numbers := re.search(r"\d+(\.\d+)+", told):
            found[driver] = numbers[0]
    return found
