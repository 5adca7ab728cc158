"""What a health file says to a probe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasuki.app.health.health_file import STALE, gathered, head, read, reasons, write


def doc(live: list[str], ready: list[str], time: float = 100.0) -> dict[str, Any]:
    return head(live, ready, time)


def test_reasons() -> None:
    assert reasons(doc([], []), 101) == ([], [])
    assert reasons(doc([], ["away"]), 101) == ([], ["away"])
    assert reasons(None, 101) == ([], ["it has not started yet"])
    old = [f"no sign of life for {STALE + 1:.0f} s"]
    assert reasons(doc([], []), 100 + STALE + 1) == (old, old)


def test_several_processes_are_as_well_as_the_worst_of_them() -> None:
    all_well = gathered({1: doc([], []), 2: doc([], [])}, 101)
    assert (all_well["live"], all_well["ready"]) == (True, True)
    told = gathered({1: doc([], ["away"]), 2: doc(["stuck"], ["stuck"]), 3: None}, 101)
    assert told["why"] == {
        "live": ["process 2: stuck"],
        "ready": ["process 1: away", "process 2: stuck", "process 3: it has not started yet"],
    }
    assert told["processes"]["1"]["ready"] is False
    assert reasons(told, 102) == (told["why"]["live"], told["why"]["ready"])


def test_a_file_of_a_process_that_is_not_live_is_old(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    file.touch()
    write(file, doc(["stuck"], ["stuck"]), live_at=42.0)
    assert (file.stat().st_mtime, read(file)) == (42.0, doc(["stuck"], ["stuck"]))
    write(file, doc([], []), live_at=42.0)
    assert file.stat().st_mtime > 42.0


@pytest.mark.parametrize("text", ["", "[]", "{", json.dumps({"time": "now"})])
def test_what_is_no_document(tmp_path: Path, text: str) -> None:
    assert read(tmp_path / "alive") is None
    (tmp_path / "alive").write_text(text)
    assert read(tmp_path / "alive") is None
