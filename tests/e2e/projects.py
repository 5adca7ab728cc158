"""Projects in a folder, and waiting for what they do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

DEADLINE = 20.0


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Make the files below the folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until it holds; what it says about time is only that it does not take forever."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        await asyncio.sleep(0.005)
