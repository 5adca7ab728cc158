"""Apps in Python files, found without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tasuki.errors import ConfigError, Position

_MAX_BYTES = 2**20
_NOT_APPS = ("test_", "conftest.", "setup.", "noxfile.")
"""Beginnings of the names of files whose apps are not the project."""


def apps_in(path: Path) -> list[str]:
    """Names of the module-level variables that a file assigns an ``App(…)`` to; none if it cannot be read.

    Raises:
        ConfigError: the file names tasuki, and is not Python.
    """
    try:
        source = path.read_bytes()
        if b"tasuki" not in source or len(source) > _MAX_BYTES:
            return []
        module = ast.parse(source)
    except SyntaxError as error:
        place = Position(str(path), error.lineno or 0, error.offset or 0)
        raise ConfigError(f"this is not Python: {error.msg}", position=place) from error
    except (OSError, ValueError):
        return []
    makers = set(_makers(module))
    return list(dict.fromkeys(name for name, value in _assigned(module) if _called(value) in makers))


def _makers(module: ast.Module) -> Iterator[str]:
    """The expressions that mean ``tasuki.App`` in this module."""
    for node in module.body:
        if isinstance(node, ast.ImportFrom) and node.module in {"tasuki", "tasuki.app"} and not node.level:
            yield from (alias.asname or alias.name for alias in node.names if alias.name == "App")
        elif isinstance(node, ast.Import):
            yield from (f"{alias.asname or alias.name}.App" for alias in node.names if alias.name == "tasuki")


def _assigned(module: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in module.body:
        match node:
            case ast.Assign(targets=targets, value=value):
                yield from ((target.id, value) for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value


def _called(value: ast.expr) -> str:
    return ast.unparse(value.func) if isinstance(value, ast.Call) else ""


def module_of(path: Path) -> tuple[str, Path]:
    """The dotted name of a file's module, and the folder that must be on the import path for it."""
    names = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    return ".".join(names), folder


def files_with_apps(folder: Path) -> list[tuple[Path, str]]:
    """File and name of each App in the Python files of a folder, by the names of the files.

    Raises:
        ConfigError: there is none, and one of the files is not Python.
    """
    found: list[tuple[Path, str]] = []
    broken: list[ConfigError] = []
    for path in sorted(folder.glob("*.py")):
        if path.name.startswith(_NOT_APPS) or path.stem.endswith("_test"):
            continue
        try:
            found += [(path, name) for name in apps_in(path)]
        except ConfigError as error:
            broken.append(error)
    if broken and not found:
        raise broken[0]
    return found
