"""``[tool.tasuki]`` of ``pyproject.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from tasuki.errors import ConfigError, Position

FILE = "pyproject.toml"
_KEYS = ("app",)


def configured(folder: Path) -> tuple[str, Path] | None:
    """The project that the nearest table, in the folder or above it, names; and the folder of its file.

    Raises:
        ConfigError: the file cannot be read, or its table has mistakes.
    """
    for place in (folder, *folder.parents):
        if (path := place / FILE).is_file() and (app := app_of(path)) is not None:
            return app, place
    return None


def app_of(path: Path) -> str | None:
    """``app`` of the table; None if the file has no such table. Raises ConfigError."""
    at = Position(str(path))
    try:
        text = path.read_text(encoding="utf-8")
        table: Any = tomllib.loads(text).get("tool", {}).get("tasuki")
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"the file cannot be read: {error}", position=at) from error
    if table is None:
        return None
    at = Position(str(path), _line_of(text))
    if not isinstance(table, dict):
        raise ConfigError("tool.tasuki is a table", position=at, hint='write [tool.tasuki] and app = "jobs:app"')
    from tasuki.registry.references import did_you_mean

    for key in table.keys() - set(_KEYS):
        hint = did_you_mean(key, _KEYS) or f"there are: {', '.join(_KEYS)}"
        raise ConfigError(f"[tool.tasuki] has no key {key!r}", position=at, hint=hint)
    app = table.get("app")
    if not isinstance(app, str) or not app:
        hint = 'write app = "jobs:app", or the folder of a project in YAML'
        raise ConfigError("app of [tool.tasuki] names no project", position=at, hint=hint)
    return app


def _line_of(text: str) -> int:
    lines = text.splitlines()
    return next((number for number, line in enumerate(lines, 1) if line.strip().startswith("[tool.tasuki]")), 0)
