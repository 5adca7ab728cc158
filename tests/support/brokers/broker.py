"""Broker: one private broker process, which a test can stop, kill, freeze and restart; it ends with the tests."""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self
from unittest import SkipTest

from tests.support.ports import free_port

START_TIMEOUT = 60.0
"""Seconds within which a broker must answer."""

_PR_SET_PDEATHSIG = 1
_started: dict[type[Broker], Broker] = {}
# A broker dies with the thread that started it, so that must be one that lives as long as the tests.
_starter = ThreadPoolExecutor(1, "brokers")


class Broker(ABC):
    """A broker with its own data folder. A subclass says what to run, and when it is ready.

    ``shared()`` gives the one of this test process, started at the first call; a child of a test process must not call
    it. A broker that is not installed skips the test, and fails it with ``CI=true``.
    """

    name = ""
    package = ""
    """What to install, for the message: ``apt-get install <package>``."""
    address = ""
    """The URL for a driver, with ``{port}``."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"tasuki-{self.name}-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._log = (self.folder / "log").open("ab")
        # Before anything starts: an error on the way must not leave a process behind.
        atexit.register(self.end)

    @classmethod
    def shared(cls) -> Self:
        """The running broker of this test process."""
        broker = _started.get(cls)
        if not isinstance(broker, cls):
            broker = cls()
            broker.start()
            _started[cls] = broker
        elif broker.process is None or broker.process.poll() is not None:
            broker.start()
        return broker

    def __enter__(self) -> Self:
        """Start it, for a block."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def url(self) -> str:
        """The URL for a driver."""
        return self.address.format(port=self.port)

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.poll() is None

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The program and its arguments. Use ``binary`` to find the program."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the broker answers its protocol; an OSError counts as no."""

    def environment(self) -> Mapping[str, str]:
        """Variables to add to the process's environment."""
        return {}

    def prepare(self) -> None:
        """Make what the first start needs; called before each start."""
        return

    def start(self) -> None:
        """Start it on its port and its data, and wait until it answers."""
        self.prepare()
        self.process = _starter.submit(self._spawn).result()
        end = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{self.name} did not start:\n{self.log()[-4000:]}")
            time.sleep(0.02)

    def _spawn(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(),
            cwd=self.folder,
            env={**os.environ, **self.environment()},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - two system calls, no lock
            process_group=0,
        )

    def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        self._finish(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self._finish(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it, and start it again on the same port and data."""
        self.sync()
        self.kill()
        self.start()

    @property
    def data(self) -> Path:
        """The folder of its data, below ``folder``."""
        return self.folder / "data"

    def save(self) -> None:
        """Keep a copy of its data, as a snapshot of its disk; it is killed for that, and runs again afterwards."""
        self.sync()
        self.kill()
        _copy(self.data, self.folder / "saved")
        self.start()

    def restore(self) -> None:
        """Put its data back to the copy: what it has confirmed since then is gone."""
        self.kill()
        _copy(self.folder / "saved", self.data)
        self.start()

    def sync(self) -> None:  # noqa: B027 - most brokers have nothing to do here
        """Let it put on disk which queues were made just now, where it takes its time for that; before a kill."""

    def freeze(self) -> None:
        """SIGSTOP to it and all its children: connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Kill it, and remove its data."""
        self.kill()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """What it wrote so far."""
        return (self.folder / "log").read_text(errors="replace") if self.folder.exists() else ""

    def binary(self, *names: str) -> str:
        """The first of these programs (names, or patterns with a path) that is there; skips or fails if none is."""
        for name in names:
            found = shutil.which(name)
            if found is None and "/" in name:
                found = next(map(str, sorted(Path("/").glob(name.lstrip("/")), reverse=True)), None)
            if found:
                return found
        missing(self.name, f"apt-get install {self.package}")
        raise AssertionError  # missing() does not return

    def _answers(self) -> bool:
        try:
            return self.is_ready()
        except OSError:
            return False

    def _finish(self, number: signal.Signals) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self._signal(signal.SIGCONT)
        if number is signal.SIGKILL:
            self._signal(number)
        else:
            self.process.send_signal(number)
        self.process.wait(START_TIMEOUT)

    def _signal(self, number: signal.Signals) -> None:
        """To the whole tree: some brokers give each of their processes its own group."""
        if self.process is not None and self.process.poll() is None:
            for pid in tree(self.process.pid):
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue


def _copy(source: Path, target: Path) -> None:
    """Replace a folder by a copy of another one; its files keep their owner."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def missing(name: str, remedy: str) -> None:
    """Skip because a broker is not installed; with ``CI=true`` fail, so that no broker is left out unseen."""
    message = f"{name} is not installed: {remedy}"
    if os.environ.get("CI") == "true":
        raise AssertionError(message)
    raise SkipTest(message)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def tree(pid: int) -> list[int]:
    """A process and all below it, parents first."""
    found = [pid]
    try:
        for tasks in Path(f"/proc/{pid}/task").iterdir():
            for child in (tasks / "children").read_text().split():
                found += tree(int(child))
    except OSError:
        pass
    return found
