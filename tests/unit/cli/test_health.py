"""``tasuki health`` as a probe: exit codes and reasons."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tasuki.app.health.report import Sheet
from tasuki.app.health.rules import Finding, Level
from tasuki.cli.commands.work.workers import STALE
from tests.unit.cli.conftest import CommandLine


@pytest.mark.parametrize(
    ("level", "age", "code", "code_ready"),
    [("ok", 0, 0, 0), ("warning", 0, 0, 0), ("not_ready", 0, 0, 1), ("not_live", 0, 1, 1), ("ok", STALE + 5, 1, 1)],
)
def test_a_probe(tasuki: CommandLine, project: Path, level: Level, age: float, code: int, code_ready: int) -> None:
    found = Sheet().report([("consumer app:c", Finding(level, "why"))], time.time() - age)
    (project / "alive").write_text(json.dumps(found.as_dict()))
    os.utime(project / "alive", (found.time, found.time))
    assert tasuki("health", "alive").returncode == code
    done = tasuki("health", "alive", "--ready")
    assert done.returncode == code_ready
    assert done.stderr.splitlines() == ([done.stderr.strip()] if code_ready else [])
    told = json.loads(tasuki("health", "alive", "--json").stdout)
    assert (told["live"], told["ready"]) == (code == 0, code_ready == 0)
    if level == "warning":
        assert done.stdout == "live and ready\nconsumer app:c: why\n"


@pytest.mark.parametrize(("ago", "code"), [(0, 0), (STALE + 5, 1)])
def test_a_worker_that_cannot_write_touches_its_file(tasuki: CommandLine, project: Path, ago: float, code: int) -> None:
    levels: tuple[Level, ...] = ("not_live", "ok")
    found = Sheet().report([(f"consumer {each}", Finding(each, "why")) for each in levels], time.time() - 1000)
    (project / "alive").write_text(json.dumps(found.as_dict()))
    os.utime(project / "alive", (time.time() - ago,) * 2)
    done = tasuki("health", "alive")
    assert (done.returncode, "file: no document was written for" in done.stdout) == (code, code == 0)


def test_a_document_from_the_future_says_nothing(tasuki: CommandLine, project: Path) -> None:
    now = time.time() + 3600
    (project / "alive").write_text(json.dumps(Sheet().report([], now).as_dict()))
    os.utime(project / "alive", (now, now))
    done = tasuki("health", "alive")
    assert (done.returncode, done.stderr) == (1, "worker: no sign of life since the clock was set back\n")


def test_no_document(tasuki: CommandLine, project: Path) -> None:
    done = tasuki("health", "alive")
    assert (done.returncode, "no worker with --health-file alive has started" in done.stderr) == (1, True)


def test_the_file_may_stand_in_the_environment(
    tasuki: CommandLine, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "there").write_text(json.dumps(Sheet().report([], time.time()).as_dict()))
    monkeypatch.setenv("TASUKI_HEALTH_FILE", "there")
    assert tasuki("health").returncode == 0
