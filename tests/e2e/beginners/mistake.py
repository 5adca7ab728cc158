"""One mistake: files, commands, and what the last command must answer."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.projects import write
from tests.support.process import environ, run

SOURCE = Path(__file__).parents[3] / "src"

JOBS = """
from tasuki import App

app = App()
jobs = app.queue("jobs", dead_letter={"queue": "jobs.dead", "max_attempts": 1})

@jobs.consumer
async def work(body: dict) -> None:
    print("worked", body)
"""
TASK = """
from tasuki import App

app = App()
jobs = app.queue("jobs", dead_letter={"queue": "jobs.dead", "max_attempts": 1})

@jobs.task
async def mail(to: str) -> None: ...
"""


def program(line: str, jobs: str = JOBS) -> dict[str, str]:
    """``jobs.py``, whose ``main`` runs one line with the app open."""
    text = f"\nimport asyncio\n\nasync def main():\n    async with app:\n        {line}\n\nasyncio.run(main())\n"
    return {"jobs.py": jobs + text}


@dataclass(frozen=True)
class Mistake:
    """What a beginner has written and started, and the answer.

    ``says``: parts of the answer, in any order: what happened, where, and the remedy. ``code``: the exit code.
    """

    what: str
    files: Mapping[str, str]
    command: str
    says: tuple[str, ...]
    code: int = 3
    before: tuple[str, ...] = ()
    """Commands that come first, and succeed."""
    environ: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], object] = lambda folder: None

    def answer(self, folder: Path) -> tuple[int, str]:
        """Make the files and run the commands; exit code and output of the last one."""
        write(folder, self.files)
        self.prepare(folder)
        for command in self.before:
            code, output = execute(command, folder)
            assert code == 0, output
        return execute(self.command, folder)


def execute(command: str, folder: Path) -> tuple[int, str]:
    """Run one command line of ``tasuki`` or ``python`` in a folder; exit code and output."""
    name, *words = shlex.split(command)
    if name == "tasuki":
        done = run(*words, folder=folder)
        return done.returncode, done.stdout + done.stderr
    path = os.pathsep.join(filter(None, (str(SOURCE), os.environ.get("PYTHONPATH"))))
    program = subprocess.run(
        [sys.executable, *words], cwd=folder, env={**environ(), "PYTHONPATH": path},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
    )  # fmt: skip
    return program.returncode, program.stdout
