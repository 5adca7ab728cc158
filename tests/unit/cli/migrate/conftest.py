"""Projects that are imported in a test."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules_go: None) -> None:
    """Projects in the folder of the test can be imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
