"""A handler that closes the descriptors of its worker: the worker ends with an error, and is not deaf and idle."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli_project import write_project
from tests.support.process import run, start

pytestmark = [pytest.mark.fault]

HANDLER = """
import os, stat

def handle(body: int) -> None:
    for number in range(3, 64):
        try:
            if {condition}:
                os.close(number)
        except OSError:
            pass
"""


@pytest.mark.parametrize(
    ("condition", "says"),
    [("stat.S_ISSOCK(os.fstat(number).st_mode)", True), ("True", False)],
    ids=["the wake-up of its loop", "all"],
)
def test_a_worker_whose_descriptors_are_closed_ends_with_an_error(condition: str, says: bool, tmp_path: Path) -> None:
    write_project(tmp_path, HANDLER.format(condition=condition))
    assert run("publish", "app:tasks", "1", folder=tmp_path).returncode == 0
    with start("run", folder=tmp_path) as worker:
        if says:  # where the loop's own poll fails as well, that may end it first
            worker.wait_for("file descriptors of the event loop are closed")
        assert worker.wait() != 0
