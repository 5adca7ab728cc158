"""The port: our patch on a copy of the application, and how many lines it changes."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

PATCH = Path(__file__).with_name("port.patch")
OBSOLETE = ("src/paperless/celery.py",)
"""Files that the port removes: this one makes the Celery app."""
_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


@dataclass(frozen=True, slots=True)
class Changed:
    """Changed lines by file. A changed line counts once: of each hunk the larger of its added and its removed lines."""

    of_application: dict[str, int]
    of_tests: dict[str, int]


def changed_lines(patch: str) -> Changed:
    """Count the lines of a patch without context."""
    found: dict[str, int] = {}
    file = ""
    for line in patch.splitlines():
        if line.startswith("--- "):
            file = line.removeprefix("--- a/")
        elif hunk := _HUNK.match(line):
            found[file] = found.get(file, 0) + max(int(each) if each is not None else 1 for each in hunk.groups())
    tests = {name: count for name, count in found.items() if "/tests/" in name}
    return Changed({name: count for name, count in found.items() if name not in tests}, tests)


def port(original: Path, target: Path) -> None:
    """Copy the application, and apply the patch. Raises CalledProcessError: it does not fit this version."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(original, target, ignore=shutil.ignore_patterns("__pycache__", "data", "media"))
    # Not a part of our own repository: git would skip the files.
    command = ["git", "apply", "--unidiff-zero", str(PATCH.resolve())]
    subprocess.run(["git", "init", "--quiet"], cwd=target, check=True)
    subprocess.run(command, cwd=target, check=True)
    for name in OBSOLETE:
        (target / name).unlink()
