"""Fixtures of all fault tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that do not measure coverage: it doubles what they compute, and a killed one tells nothing of it."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
