"""The cells of one system on one broker: each runs the system in other processes, with a bound."""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.load import broker_seconds
from tests.compare.environments import ROOT
from tests.compare.role import SLOT, SLOTS
from tests.support.brokers.broker import Broker, tree

PUBLISH_SECONDS = 0.8
DRAIN_SECONDS = 1.5
FILL = 60_000
"""Messages that wait before a drain, or what a publisher manages in ``FILL_SECONDS``."""
FILL_SECONDS = 2.0
FAILURES = 5_000
START_BOUND = 20.0
KILL_BOUND = 45.0
RATE, PACED = 200, 300
CHILD_BOUND = 40.0

Cells = dict[str, float | str]


class Failure(Exception):
    """A cell that has no figure, with the reason."""


class Site:
    """One system on one broker: a fresh queue for each group of cells."""

    def __init__(self, name: str, python: Path, driver: str, broker: Broker | None, folder: Path) -> None:
        self.name, self.python, self.driver, self.broker = name, python, driver, broker
        self._home, self._turn = folder, 0
        self.is_best = True

    def fresh(self) -> None:
        """Another queue; Redis is emptied, PostgreSQL gets another database, SQLite another file."""
        self._turn += 1
        name = f"q{os.getpid()}{self._turn}{self.name}"
        self.folder = self._home / name
        self.folder.mkdir()
        (self.folder / "tally").write_bytes(bytes(SLOTS * SLOT.size))
        url = self.broker.url if self.broker else str(self.folder / "queue.db")
        if self.driver == "redis":
            self.broker.ask("FLUSHALL")  # type: ignore[union-attr]
        elif self.driver == "postgres":
            url = f"{url.rpartition('/')[0]}/{name}"
            create = "import asyncio, asyncpg, sys\nasync def f():\n c = await asyncpg.connect(sys.argv[1])\n"
            create += " await c.execute(f'CREATE DATABASE {sys.argv[2]}')\nasyncio.run(f())"
            subprocess.run([sys.executable, "-c", create, self.broker.url, name], check=True, timeout=60)  # type: ignore[union-attr]
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("COMPARE_", "TASUKI_"))},
            "COMPARE_URL": url,
            "COMPARE_BROKER": self.driver,
            "COMPARE_QUEUE": name,
            "COMPARE_FOLDER": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
        }
        self.role("setup")

    def _start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.python), "-m", f"tests.compare.peers.{self.name}", *arguments],
            cwd=ROOT,
            env={**self._environment, "COMPARE_BEST": "1" if self.is_best else "0"},
            text=True,
            **options,
        )

    def role(self, *arguments: str) -> Any:
        """What a publisher prints; None if the system cannot do it."""
        child = self._start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, error = child.communicate(timeout=CHILD_BOUND)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            raise Failure(f"{arguments[0]}: not done after {CHILD_BOUND:.0f} s") from None
        if child.returncode:
            raise Failure(f"{arguments[0]}: {(error.strip().splitlines() or ['failed'])[-1][:200]}")
        lines = [line for line in out.splitlines() if line.startswith(("{", "null"))]
        return json.loads(lines[-1]) if lines else None

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """A running worker; killed with all its children at the end."""
        with (self.folder / "worker.log").open("a+") as log:
            worker = Worker(self._start("work", stdout=log, stderr=log), self.folder)
            try:
                yield worker
            finally:
                worker.kill()

    def there(self) -> float:
        """Seconds of processor time of the broker so far."""
        return broker_seconds(self.broker) if self.broker else 0.0


class Worker:
    """A worker process with its children, and how many messages they have handled."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process, self.folder = process, folder
        self.began = time.monotonic()

    def tally(self) -> tuple[int, float, float]:
        """Handled messages, and when the first and the last one was."""
        with (self.folder / "tally").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            slots = [slot for slot in SLOT.iter_unpack(memory[:]) if slot[0]]
        counts, firsts, lasts = zip(*slots, strict=True) if slots else ((0,), (0.0,), (0.0,))
        return sum(counts), min(firsts), max(lasts)

    def wait(self, condition: Callable[[], Any], bound: float, what: str) -> Any:
        """The first true value; a worker that ended or the end of the time is a failure."""
        ends_at = time.monotonic() + bound
        while not (value := condition()):
            if self.process.poll() is not None:
                log = (self.folder / "worker.log").read_text(errors="replace").strip().splitlines()
                raise Failure(f"the worker ended: {(log or ['without a word'])[-1][:200]}")
            if time.monotonic() > ends_at:
                raise Failure(f"{what} not within {bound:.0f} s")
            time.sleep(0.005)
        return value

    def cpu(self) -> float:
        """Seconds of processor time of all its processes, ended children included."""
        total = 0
        for pid in tree(self.process.pid):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            total += sum(map(int, fields[11:15]))
        return total / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        """Its memory: shared pages of its processes count once."""
        total = 0
        for pid in tree(self.process.pid):
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            total += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
        return total / 1e3

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        for pid in tree(self.process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(30)


def publish(site: Site) -> Iterator[tuple[str, float]]:
    """How fast one process publishes, and what that costs it and the broker."""
    site.fresh()
    titles = {"one": "awaited, one by one", "sync": "sync, one by one", "callers": "100 callers", "bulk": "bulk"}
    for way, title in titles.items():
        before = site.there()
        found = site.role("publish", way, str(PUBLISH_SECONDS))
        if found is None:
            continue
        there, count = site.there() - before, found["count"]
        yield f"publish {title}, /s", count / found["wall"]
        yield f"publish {title}, us of the client", found["cpu"] / count * 1e6
        if site.broker:
            yield f"publish {title}, us of the broker", there / count * 1e6


def drain(site: Site, action: str = "resize", fill: int = FILL) -> Iterator[tuple[str, float]]:
    """How fast one worker handles what waits already, from the first to the last message."""
    title = "failures" if action == "fail" else "drain, best" if site.is_best else "drain, defaults"
    site.fresh()
    filled = site.role("fill", str(fill), str(FILL_SECONDS), action)["count"]
    with site.worker() as worker:
        worker.wait(lambda: worker.tally()[0], START_BOUND, "the first message was")
        cpu, there, before = worker.cpu(), site.there(), worker.tally()[0]
        ends_at = time.monotonic() + DRAIN_SECONDS
        while (found := worker.tally())[0] < filled and time.monotonic() < ends_at:
            time.sleep(0.01)
        count, first, last = found
        spent, theirs = worker.cpu() - cpu, site.there() - there
    if count < 2:
        raise Failure(f"{title}: only one message in {DRAIN_SECONDS} s")
    yield f"{title}, /s", count / (last - first)
    yield f"{title}, us of the worker", spent / max(1, count - before) * 1e6
    if site.broker:
        yield f"{title}, us of the broker", theirs / max(1, count - before) * 1e6


def waiting(site: Site) -> Iterator[tuple[str, float]]:
    """From the start of a worker to its first message, idle, and how soon it has the messages of a steady stream."""
    site.fresh()
    site.role("send", "resize")
    with site.worker() as worker:
        worker.wait(lambda: worker.tally()[0], START_BOUND, "the first message was")
        yield "start to the first message, ms", (worker.tally()[1] - worker.began) * 1e3
        yield "start to the first message, ms of CPU", worker.cpu() * 1e3
        time.sleep(1.0)
        yield "idle, MB of memory", worker.megabytes()
        cpu = worker.cpu()
        time.sleep(1.5)
        yield "idle, % of a core", (worker.cpu() - cpu) / 1.5 * 100
        site.role("paced", str(RATE), str(PACED))
        latencies = site.folder / "latencies"
        worker.wait(
            lambda: latencies.exists() and len(latencies.read_text().splitlines()) >= PACED, 10, "all messages were"
        )
        found = sorted(float(line) for line in latencies.read_text().splitlines())
        yield f"latency at {RATE}/s, p50 ms", found[len(found) // 2] * 1e3
        yield f"latency at {RATE}/s, p99 ms", found[int(len(found) * 0.99)] * 1e3


def killed(site: Site) -> Iterator[tuple[str, float | str]]:
    """From the SIGKILL of a worker in the middle of a message until the next worker handles that message again."""
    site.fresh()
    held = site.folder / "held"

    def times() -> list[str]:
        return held.read_text().splitlines() if held.exists() else []

    site.role("send", "hold")
    with site.worker() as worker:
        worker.wait(times, START_BOUND, "the message was")
    began = time.monotonic()
    with site.worker() as worker:
        try:
            worker.wait(lambda: len(times()) > 1, KILL_BOUND, "the message was")
        except Failure:
            yield "killed until it runs again, s", f"> {KILL_BOUND:.0f}"
        else:
            yield "killed until it runs again, s", float(times()[1]) - began


def _with_defaults(site: Site) -> Iterator[tuple[str, float]]:
    site.is_best = False
    yield from drain(site)


def _failures(site: Site) -> Iterator[tuple[str, float]]:
    yield from drain(site, "fail", FAILURES)


def measure(site: Site, *, is_first: bool) -> Iterator[tuple[str, float | str]]:
    """All cells of a round, the most important ones first; a group that fails says why, and the others follow."""
    groups: list[Callable[[Site], Iterator[tuple[str, float | str]]]]
    groups = [_with_defaults, drain, publish, waiting, *([killed] if is_first else []), _failures]
    for group in groups:
        site.is_best = True
        try:
            yield from group(site)
        except (Failure, subprocess.SubprocessError, OSError) as error:
            yield "problem", str(error)
