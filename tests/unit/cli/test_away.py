"""Commands without their broker, or without room for their output: one clear error, the exit code, no stdout."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.unit.cli.conftest import CommandLine

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def away(tasuki: CommandLine, project: Path) -> CommandLine:
    file = project / "_index.yaml"
    file.write_text(
        file.read_text().replace("kind: queue.driver.sqlite", f"kind: queue.driver.redis\n    url: {NOWHERE}")
    )
    return tasuki


@pytest.mark.parametrize("command", ["batches", "workers", "audit", "dead", "show x"])
def test_the_broker_is_named(away: CommandLine, command: str) -> None:
    done = away(*command.split(), "--json")

    assert (done.returncode, done.stdout) == (4, "")
    assert "Redis at 127.0.0.1:1: it cannot be reached" in done.stderr
    assert "open it first" not in done.stderr


def test_a_table_without_any_count_is_no_success(away: CommandLine) -> None:
    done = away("top", "--once")

    assert "next attempt" not in done.stderr, "it makes none"
    assert done.returncode == 4
    assert done.stdout.splitlines()[1].split()[:2] == ["app:tasks", "-"]
    assert "Redis at 127.0.0.1:1" in done.stderr


def test_a_full_disk_is_no_traceback(tasuki: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tasuki.cli.output.json.dumps", full)
    done = tasuki("drivers", "--json")

    assert done.returncode == 1
    assert done.stderr.endswith("error: cannot write the output: No space left on device\n")
