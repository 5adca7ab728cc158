"""Which broker the tests ran on, in words: its name and version."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence


def version_of(name: str, command: Sequence[str]) -> str:
    """The first version number that a command prints, after the broker's name; the name alone if it prints none."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return version_in(name, done.stdout + done.stderr)


def version_in(name: str, text: str) -> str:
    """The first version number in a text, after the broker's name."""
    found = re.search(r"\d+(\.\d+)+", text)
    return f"{name} {found[0]}" if found else name
