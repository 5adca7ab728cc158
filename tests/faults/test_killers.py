"""A message that kills its worker: it is given up, and the messages beside it are handled, on every driver."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest

from tasuki import App
from tasuki.contracts.driver import Received
from tasuki.message import DEAD_LETTER_REASON, LAST_ERROR
from tests.e2e.projects import write
from tests.e2e.test_every_driver import renamed
from tests.support.brokers.everywhere import DRIVERS, overrides

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(300)]

INNOCENT, KILLED = 9, 7
"""How many messages stand beside the killer, and the exit code of a worker that it has killed."""

PROJECT = {
    "_index.yaml": """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite, lifecycle: {auto_start: true}}
  - {name: tasks, kind: queue.queue, driver: driver, lease: 2s, dead_letter: {queue: dead, max_attempts: 2}}
  - {name: dead, kind: queue.queue, driver: driver}
  - {name: handle, kind: function.python, source: file://handle.py, method: handle}
  - {name: worker, kind: queue.consumer, queue: tasks, func: handle, lifecycle: {auto_start: true}}
""",
    "handle.py": f"""\
import os
import time

notes = os.open("notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def handle(body: int) -> None:
    if body == 0:
        os._exit({KILLED})
    time.sleep(0.01)
    os.write(notes, b"%d\\n" % body)
""",
}


class Setting(NamedTuple):
    """How the workers are set up."""

    concurrency: int
    prefetch: int
    processes: int
    max_attempts: int = 2

    def __str__(self) -> str:
        return "-".join(map(str, self))


GRID = [Setting(*values, 5) for values in product((1, 16), (10, 200), (1, 3))]
"""The whole campaign: ``make kills``."""

SHORT = {
    "sqlite": [Setting(1, 10, 1), Setting(16, 200, 3, max_attempts=1)],
    **{driver: [Setting(16, 10, 1, max_attempts=1)] for driver in DRIVERS if driver not in ("memory", "sqlite")},
}

CASES = [
    pytest.param(driver, setting, id=f"{driver}-{setting}")
    for driver in SHORT
    for setting in (GRID if os.environ.get("CAMPAIGN") else SHORT[driver])
]


class Workers:
    """Workers that are started again whenever they die; ``deaths`` counts how often."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        self.deaths = 0
        self._folder = folder
        self._command = [sys.executable, "-m", "tasuki", "run", "--until-empty"]
        self._command += [part for option in options for part in ("-o", option)]

    async def keep(self) -> None:
        """Run one until everything is handled."""
        code = None
        while code != 0:
            with (self._folder / "worker.log").open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *self._command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            try:
                code = await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            assert code in (0, KILLED), self.log()
            self.deaths += code == KILLED

    def log(self) -> str:
        return (self._folder / "worker.log").read_text(errors="replace")[-5000:]


@pytest.mark.parametrize(("driver", "setting"), CASES)
async def test_a_killer_is_given_up_and_its_neighbors_are_handled(
    driver: str, setting: Setting, tmp_path: Path
) -> None:
    options = [
        *overrides(driver, "app:driver", tmp_path),
        *renamed("app:tasks", "app:dead"),
        f"app:tasks:dead_letter.max_attempts={setting.max_attempts}",
        f"app:worker:concurrency={setting.concurrency}",
        f"app:worker:prefetch={max(setting.prefetch, setting.concurrency)}",
    ]
    app = App.load(write(tmp_path, PROJECT), overrides=options)
    workers = Workers(tmp_path, options)
    async with app:
        await app.queue("tasks").publish_many(list(range(1 + INNOCENT)))
        await asyncio.wait_for(asyncio.gather(*(workers.keep() for _ in range(setting.processes))), 240)
        letters = await _taken(app, "app:dead")
    handled = Counter(map(int, (tmp_path / "notes").read_text().split()))
    assert sorted(handled) == list(range(1, 1 + INNOCENT)), f"innocent messages were not handled\n{workers.log()}"
    assert [letter.body for letter in letters] == [b"0"], workers.log()
    (letter,) = letters
    assert letter.headers[DEAD_LETTER_REASON] == "worker_died"
    assert str(letter.headers[LAST_ERROR]).startswith(
        f"the worker process died {setting.max_attempts} times while handling this message"
    )
    assert workers.deaths <= setting.max_attempts + 1
    assert max(handled.values()) <= 2, "only what ran beside the first death ran again"


async def _taken(app: App, queue: str) -> list[Received]:
    """All that is in a queue, received."""
    target = app._runtime.queue(queue)
    taken: list[Received] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(30):
            while (await target.depth()).ready or not taken:
                taken += await target.driver.receive(target.spec.name, 10, 1.0)
    return taken
