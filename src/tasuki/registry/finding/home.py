"""The folder from which relative paths of an app in code start."""

from __future__ import annotations

import os
from pathlib import Path


def home_of(file: str) -> Path:
    """The folder of a source file, or the nearest one above it with a ``pyproject.toml``; the current one if no file.

    An interactive session and a notebook name files that do not exist.
    """
    if not os.path.isfile(file):
        return Path.cwd()
    folder = Path(os.path.abspath(file)).parent
    return next((place for place in (folder, *folder.parents) if (place / "pyproject.toml").is_file()), folder)
