"""The tests of examples/testing pass, in forty lines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[3] / "examples" / "testing"


def test_the_application_is_tested(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "shop", ignore=shutil.ignore_patterns("__pycache__"))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "-W", "error"],
        cwd=tmp_path / "shop",
        env={key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "TASUKI"))},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    passed = run.stdout.count("\n4 passed")
    assert passed == 1, run.stdout + run.stderr
    assert not (tmp_path / "shop" / ".tasuki").exists()


def test_it_has_forty_lines() -> None:
    assert len((EXAMPLE / "test_jobs.py").read_text().splitlines()) <= 40
