"""Templates: data folders that are made once for all processes of a test run, and copied by each of them."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

_VARIABLE = "TASUKI_TEST_TEMPLATES"


def folder() -> Path:
    """The folder of this test run; the process that asks first makes it, its children find it, and it ends with it."""
    if _VARIABLE not in os.environ:
        made = tempfile.mkdtemp(prefix="tasuki-templates-")
        Path(made).chmod(0o711)  # brokers do not run as root
        os.environ[_VARIABLE] = made
        atexit.register(_remove, made, os.getpid())
    return Path(os.environ[_VARIABLE])


def copy(name: str, make: Callable[[Path], None], target: Path) -> None:
    """Copy the data of a broker to ``target``, with its owner and rights.

    The first caller of all processes makes it with ``make``, which gets an empty folder and writes ``data`` there; the
    others wait. After a failure the next one makes it again.
    """
    template = folder() / name
    with template.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (template / "is-made").exists():
            shutil.rmtree(template, ignore_errors=True)
            template.mkdir()
            make(template)
            (template / "is-made").touch()
    subprocess.run(["cp", "-a", template / "data", target], check=True)


def _remove(made: str, pid: int) -> None:
    if os.getpid() == pid:  # and no child that it has forked
        shutil.rmtree(made, ignore_errors=True)
