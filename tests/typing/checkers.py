"""mypy and pyright, as a user runs them; each gives the lines that it reports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

Places = set[tuple[str, int]]
"""Files, as they were given, and line numbers."""


def mypy(*files: str) -> Places:
    found = _run("mypy", "--strict", "--hide-error-context", *files)
    # Of a file that it knows from an earlier run, mypy tells the place where it was then.
    given = {Path(file).name: file for file in files}
    errors = re.findall(r"^([^:\n]+):(\d+): error:", found, re.MULTILINE)
    return {(given.get(Path(file).name, file), int(line)) for file, line in errors}


def pyright(*files: str) -> Places:
    report = json.loads(_run("pyright", "--outputjson", "--pythonpath", sys.executable, *files))
    given = {(ROOT / file).resolve(): file for file in files}
    return {
        (given[Path(problem["file"]).resolve()], problem["range"]["start"]["line"] + 1)
        for problem in report["generalDiagnostics"]
    }


def _run(checker: str, *arguments: str) -> str:
    command = [sys.executable, "-m", checker, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout
