"""Target: which app the fixture ``tasuki_app`` is a twin of."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path
from typing import Any

from tasuki.app import App
from tasuki.errors import TasukiError


def find_target(root: Path) -> str:
    """``TASUKI_PROJECT``, else ``app`` of ``[tool.tasuki]`` in the ``pyproject.toml`` of the folder.

    Raises:
        TasukiError: neither is there.
    """
    file = root / "pyproject.toml"
    tool: Any = tomllib.loads(file.read_text("utf-8")).get("tool", {}) if file.is_file() else {}
    target = os.environ.get("TASUKI_PROJECT") or tool.get("tasuki", {}).get("app")
    if isinstance(target, str) and target:
        return target
    raise TasukiError(
        f'no project to test: write app = "jobs:app" under [tool.tasuki] in {file}, or set TASUKI_PROJECT, or define '
        "a fixture tasuki_target that returns the App, package.module:app, or the folder of a YAML project"
    )


def load_target(target: App | Path | str, root: Path | None = None) -> App:
    """The app itself, or the one of a target; modules and folders are found from ``root``, default the current one."""
    if isinstance(target, App):
        return target
    folder = root or Path.cwd()
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    path = folder / target
    return App.load(path if path.exists() else target)
