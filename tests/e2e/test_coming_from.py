"""Examples of six other libraries and the same programs here: both run, and say the same.

The programs of the other libraries need these libraries and Redis. They are no requirements of the suite: 28 packages,
and arq takes redis-py below 6 where Celery takes it from 6.1 on. Install one beside it to run its test too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.brokers.redis import Redis
from tests.support.process import environ, wait_until

EXAMPLES = Path(__file__).parents[2] / "examples" / "coming-from"
SOURCE = Path(__file__).parents[2] / "src"


@dataclass(frozen=True)
class Peer:
    """A library: what its programs need, how its worker starts, and what both workers and publishers print."""

    name: str
    needs: tuple[str, ...]
    worker: tuple[str, ...]
    handled: tuple[str, ...]
    published: str


PEERS = [
    Peer(
        "celery", ("celery", "redis"), ("celery", "-A", "before", "worker", "--pool", "solo", "--loglevel", "info"),
        ("4 + 4 = 8", "2 + 3 = 5"), "result: 8\n",
    ),
    Peer(
        "rq", ("rq", "redis"), ("rq.cli", "worker", "--with-scheduler", "--url", "{url}"),
        ("3 words in 'a short text'", "2 words in 'two words'"), "result: 3\n",
    ),
    Peer(
        "arq", ("arq",), ("arq", "before.WorkerSettings"),
        ("'sea' has 3 letters, at attempt 2", "'mountain' has 8 letters, at attempt 2"), "result: 3\n",
    ),
    Peer(
        "taskiq", ("taskiq", "taskiq_redis"), ("taskiq", "worker", "before:broker", "--workers", "1"),
        ("1 becomes 2", "5 becomes 6"), "result: 2\n",
    ),
    Peer(
        "dramatiq", ("dramatiq", "redis"), ("dramatiq", "before", "--processes", "1", "--threads", "1"),
        ("hello Ada", "hello Grace"), "",
    ),
    Peer(
        "huey", ("huey", "redis"), ("huey.bin.huey_consumer", "before.huey"),
        ("twice 4 is 8", "twice 5 is 10"), "result: 8\n",
    ),
]  # fmt: skip


@contextmanager
def working(words: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """A worker that runs in its own process group; the file of its output."""
    output = folder / "worker.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=file, stderr=subprocess.STDOUT, process_group=0,
        )  # fmt: skip
        try:
            yield output
        finally:
            os.killpg(process.pid, 9)
            process.wait()


def publish(program: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Run a program; what it printed."""
    done = subprocess.run(
        [sys.executable, program], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def both(peer: Peer, program: str, words: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> None:
    """Run worker and program; each prints what it must."""
    with working(words, folder, environment) as output:
        assert publish(program, folder, environment) == peer.published, output.read_text()
        wait_until(lambda: all(line in output.read_text() for line in peer.handled), f"{peer.handled}")


@pytest.mark.e2e
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_the_program_here(peer: Peer, tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLES / peer.name, tmp_path / "shop")
    path = os.pathsep.join(filter(None, (str(SOURCE), os.environ.get("PYTHONPATH"))))
    both(peer, "after.py", ("tasuki", "run", "after.py"), folder, {**environ(), "PYTHONPATH": path})


@pytest.mark.e2e
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_the_program_there(peer: Peer, tmp_path: Path) -> None:
    if missing := [name for name in peer.needs if find_spec(name) is None]:
        pytest.skip(f"not a requirement of the suite: {', '.join(missing)}; pip install it beside, and run this again")
    folder = shutil.copytree(EXAMPLES / peer.name, tmp_path / "shop")
    with Redis() as broker:
        words = tuple(word.format(url=broker.url) for word in peer.worker)
        both(peer, "before.py", words, folder, {**environ(), "REDIS_URL": broker.url})
