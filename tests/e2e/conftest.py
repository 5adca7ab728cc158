"""Fixtures of the tests that start commands."""

from __future__ import annotations

import pytest


@pytest.fixture
def untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that do not measure coverage: they interrupt a thread that is in C, as in ``time.sleep``.

    Under a tracer CPython 3.11 stands still until that thread is out of it.
    """
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
