"""The tests of the application that have to do with its queue."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

_ABOUT_THE_QUEUE = re.compile(r"celery|\.delay\b")


def files_of(folder: Path) -> list[str]:
    """The test files that name Celery or publish a task, relative to the application's folder."""
    found = folder.glob("src/*/tests/test_*.py")
    return sorted(str(path.relative_to(folder)) for path in found if _ABOUT_THE_QUEUE.search(path.read_text()))


def run(folder: Path, python: Path, files: list[str]) -> dict[str, str]:
    """How each test ends: passed, failed, error or skipped."""
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    options = ["-o", "addopts=", "--no-cov", "--quiet", "--numprocesses", "2", f"--junitxml={report}"]
    with (folder / "tests.log").open("w") as log:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHONPATH"))}
        command = [str(python.absolute()), "-m", "pytest", *options, *files]
        subprocess.run(command, cwd=folder, env=environ, stdout=log, stderr=log, check=False)
    assert report.exists(), f"no test ran: see {folder}/tests.log"
    return {_name(case): _end(case) for case in ElementTree.parse(report).iter("testcase")}


def _name(case: ElementTree.Element) -> str:
    return f"{case.get('classname')}.{case.get('name')}"


def _end(case: ElementTree.Element) -> str:
    ends = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
    return {"failure": "failed"}.get(ends[0], ends[0]) if ends else "passed"
