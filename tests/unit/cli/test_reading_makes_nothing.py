"""Commands that look make no store: a project that never ran has none, and says so."""

from __future__ import annotations

import pytest

from tests.unit.cli.conftest import CommandLine

PROJECT = """
from tasuki import App

app = App("sqlite:///queue.db")
mails = app.queue("mails", dead_letter={"queue": "dead", "max_attempts": 1})
app.queue("dead")


@mails.consumer
def send(mail: object) -> None:
    pass
"""


@pytest.mark.parametrize(
    "command",
    ["audit", "batches", "dead", "explain x", "info mails", "queues", "schedules", "top --once", "workers"],
)
def test_a_command_that_looks_makes_no_store(tasuki: CommandLine, command: str) -> None:
    (tasuki.folder / "jobs.py").write_text(PROJECT)
    before = {each.name for each in tasuki.folder.iterdir()} | {"__pycache__"}

    done = tasuki(*command.split(), "--project", "jobs:app")

    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    assert {each.name for each in tasuki.folder.iterdir()} <= before
