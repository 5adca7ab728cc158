"""`make bench`: it ends, and names a part that does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as benchmarks


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["benchmarks", *arguments])
    return benchmarks.main()


def test_a_part_that_fails_is_named_with_its_error_and_the_others_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmarks, "_DRIVERS", {"no_such_part": ("",), "keys": ("memory",)})
    assert _run(monkeypatch, "--rounds", "1", "--json", str(tmp_path / "values")) == 1
    shown = capsys.readouterr()
    assert "No module named 'tests.benchmarks.no_such_part'" in shown.out
    assert "failed: no_such_part" in shown.err
    parts = json.loads((tmp_path / "values").read_text())["parts"]
    assert parts["keys/memory"]["problem"] is None


def test_a_part_that_does_not_end_is_ended_at_its_bound(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmarks, "_BOUND", 0.1)
    assert _run(monkeypatch, "isolation") == 1
    assert "FAILED: not done after" in capsys.readouterr().out
