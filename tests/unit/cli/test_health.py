"""``tasuki health`` as a probe: exit codes and reasons."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tasuki.app.health.health_file import STALE, head
from tests.unit.cli.conftest import CommandLine


@pytest.mark.parametrize(
    ("live", "ready", "age", "code", "code_ready"),
    [
        ([], [], 0, 0, 0),
        ([], ["away"], 0, 0, 1),
        (["stuck"], ["stuck"], 0, 1, 1),
        ([], [], STALE + 5, 1, 1),
    ],
)
def test_a_probe(
    tasuki: CommandLine, project: Path, live: list[str], ready: list[str], age: float, code: int, code_ready: int
) -> None:
    (project / "alive").write_text(json.dumps(head(live, ready, time.time() - age)))
    assert tasuki("health", "alive").returncode == code
    done = tasuki("health", "alive", "--ready")
    assert done.returncode == code_ready
    assert done.stderr.splitlines() == ([done.stderr.strip()] if code_ready else [])
    assert json.loads(tasuki("health", "alive", "--json").stdout)["live"] is (code == 0)


def test_no_document(tasuki: CommandLine, project: Path) -> None:
    done = tasuki("health", "alive")
    assert (done.returncode, "no worker with --health-file alive has started" in done.stderr) == (1, True)
