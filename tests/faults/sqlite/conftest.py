"""Child processes and small disks for the fault tests at SQLite."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Child = subprocess.Popen[str]


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    """Start the acts of ``child.py``; all are killed at the end."""
    started: list[Child] = []

    def start(act: str, path: Path, number: int = 10, **env: str) -> Child:
        script = Path(__file__).with_name("child.py")
        process = subprocess.Popen(
            [sys.executable, str(script), act, str(path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount small file systems; needs rights that CI has, except for pull requests, and must not be skipped there."""
    mounted: list[Path] = []

    def mount(size: str, *options: str) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        made = _run("mount", "-t", "tmpfs", "-o", ",".join((f"size={size}", *options)), "tmpfs", str(place))
        if made.returncode:
            reason = f"cannot mount a small disk: {made.stderr.strip()}"
            is_allowed = os.environ.get("CI") == "true" and os.environ.get("GITHUB_EVENT_NAME") != "pull_request"
            pytest.fail(reason) if is_allowed else pytest.skip(reason)
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        assert _run("umount", str(place)).returncode == 0


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as problem:
        return subprocess.CompletedProcess[Any](command, 1, "", str(problem))
