"""Shared workers and chosen queues in real processes."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli_project import NOTE, lines_of, notes
from tests.support.process import Process, run, run_json, start, wait_until

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[2] / "examples"
QUEUES = ("orders", "mails", "reports")

WAITING = """
import asyncio
from tasuki import Context

async def handle(body, context: Context):
    note(f"start {context.queue}")
    while not Path(__file__).with_name("go").exists():
        await asyncio.sleep(0.01)
    note(f"end {context.queue}")
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The example, in its own folder."""
    return Path(shutil.copytree(EXAMPLES / "shared-workers", tmp_path / "shop", ignore=shutil.ignore_patterns(".*")))


def fill(folder: Path, count: int) -> None:
    for queue in QUEUES:
        done = run("publish", queue, "--file", "-", folder=folder, stdin=lines_of(*range(count)))
        assert done.returncode == 0, done.stderr


def left(folder: Path) -> dict[str, int]:
    return {row["queue"].removeprefix("shop:"): row["message_count"] for row in run_json("queues", folder=folder)}


def test_the_example(shop: Path) -> None:
    fill(shop, 8)
    done = run("run", "--until-empty", "--log-format", "text", folder=shop)
    assert done.returncode == 0, done.stderr
    handled = re.findall(r"shop:(\w+): \d+", done.stderr)
    assert sorted(handled) == sorted(QUEUES * 8)
    # While all three have messages, four orders and two mails start for each report; the start itself is not in order.
    assert handled[:12].count("orders") > handled[:12].count("mails") > handled[:12].count("reports") > 0


def test_each_process_takes_its_own_queues(shop: Path) -> None:
    fill(shop, 5)
    assert run("run", "--until-empty", "--queues", "reports", "--concurrency", "4", folder=shop).returncode == 0
    assert left(shop) == {"orders": 5, "mails": 5, "reports": 0}
    assert run("run", "--until-empty", "--except", "mails", "--processes", "2", folder=shop).returncode == 0
    assert left(shop) == {"orders": 0, "mails": 5, "reports": 0}


@pytest.fixture
def waiting(shop: Path) -> Path:
    """The example with handlers that wait for a file called ``go``, and a short lease."""
    (shop / "work.py").write_text(NOTE + WAITING)
    index = shop / "_index.yaml"
    index.write_text(index.read_text().replace("driver: driver\n", "driver: driver\n    lease: 2s\n"))
    return shop


@pytest.fixture
def worker(waiting: Path) -> Iterator[Process]:
    fill(waiting, 3)
    with start("run", "--health-file", "health.json", folder=waiting) as process:
        wait_until(lambda: len(notes(waiting)) == 2, "two handlers to run")
        yield process


def test_health_shows_busy_workers_and_is_live(waiting: Path, worker: Process) -> None:
    def health() -> object:
        return json.loads((waiting / "health.json").read_text())["workers"]

    expected = {"concurrency": 2, "running": 2, "queues": [f"shop:{queue}" for queue in QUEUES]}
    wait_until(lambda: health() == {"shop:workers": expected}, "the health file")
    assert run("health", "health.json", folder=waiting).returncode == 0
    worker.send(signal.SIGQUIT)
    worker.wait_for("shop:workers: 2 of 2 shared workers are busy")


def test_a_stop_finishes_what_runs_and_releases_what_waits_for_a_worker(waiting: Path, worker: Process) -> None:
    worker.send(signal.SIGTERM)
    worker.wait_for("stopping")
    wait_until(lambda: sum(row["ready"] for row in run_json("queues", folder=waiting)) == 7, "the release")
    (waiting / "go").touch()
    assert worker.wait() == 0
    assert len([note for note in notes(waiting) if note.startswith("end")]) == 2
    assert sum(left(waiting).values()) == 7


def test_a_reload_changes_their_number_and_loses_nothing(waiting: Path, worker: Process) -> None:
    index = waiting / "_index.yaml"
    index.write_text(index.read_text().replace("concurrency: 2", "concurrency: 3"))
    worker.send(signal.SIGHUP)
    (waiting / "go").touch()
    worker.wait_for("reloaded")
    wait_until(lambda: not sum(left(waiting).values()), "all messages to be handled")
    assert len([note for note in notes(waiting) if note.startswith("end")]) == 9


def test_after_a_kill_everything_is_handled(waiting: Path, worker: Process) -> None:
    worker.process.kill()
    worker.process.wait()
    (waiting / "go").touch()
    done = run("run", "--until-empty", folder=waiting)
    assert done.returncode == 0, done.stderr
    ends = [note for note in notes(waiting) if note.startswith("end")]
    assert (len(ends), sum(left(waiting).values())) == (9, 0)
