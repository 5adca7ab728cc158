"""What must type-check does, and each planted mistake is reported, by mypy and by pyright."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.typing import right

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RIGHT, MISTAKES = (f"tests/typing/{name}.py" for name in ("right", "mistakes"))

Places = set[tuple[str, int]]


def _mypy() -> Places:
    found = _run("mypy", "--strict", "--hide-error-context", RIGHT, MISTAKES)
    return {(file, int(line)) for file, line in re.findall(r"^([^:\n]+):(\d+): error:", found, re.MULTILINE)}


def _pyright() -> Places:
    report = json.loads(_run("pyright", "--outputjson", "--pythonpath", sys.executable, RIGHT, MISTAKES))
    return {
        (str(Path(problem["file"]).relative_to(ROOT)), problem["range"]["start"]["line"] + 1)
        for problem in report["generalDiagnostics"]
    }


def _run(checker: str, *arguments: str) -> str:
    command = [sys.executable, "-m", checker, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("checker", [_mypy, _pyright])
def test_reports_each_mistake_and_nothing_else(checker: object) -> None:
    lines = (ROOT / MISTAKES).read_text().splitlines()
    planted = {(MISTAKES, number) for number, line in enumerate(lines, 1) if "# mistake: " in line}
    assert len(planted) >= 12
    assert callable(checker)
    assert checker() == planted


def test_the_right_program_is_good_when_it_is_checked_too() -> None:
    assert {"shop:mails", "shop:mails.dead", "shop:send.consumer"} <= right.app.check().configs.keys()
