"""Find the project: by argument, environment or ``pyproject.toml``, or as the only one of a folder."""

from __future__ import annotations

import ast
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasuki.errors import ConfigError, Position
from tasuki.registry.entry import did_you_mean


def home_of(file: str) -> Path:
    """The folder of a source file, or the nearest one above it with a ``pyproject.toml``; the current one if no file.

    An interactive session and a notebook name files that do not exist.
    """
    if not os.path.isfile(file):
        return Path.cwd()
    folder = Path(os.path.abspath(file)).parent
    return next((place for place in (folder, *folder.parents) if (place / "pyproject.toml").is_file()), folder)


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
    from tasuki.registry.entry import did_you_mean

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


VARIABLE = "TASUKI_PROJECT"

_YAML = (".yaml", ".yml")

_PYTHON = ".py"

_SUGGESTED = 5


@dataclass(frozen=True, slots=True)
class Found:
    """A project: ``target`` as ``App.load`` takes it, the folder of its files, and the rule that found it."""

    target: str
    folder: Path
    source: str = ""
    file: Path | None = None
    """The Python file that must be the target's module, where a file was meant."""

    @property
    def is_code(self) -> bool:
        """Whether it is an app in a Python module."""
        return ":" in self.target and not Path(self.target).exists()

    @property
    def name(self) -> str:
        """The App's name in its module; empty without one."""
        return self.target.partition(":")[2]


def find_project(given: str | None, *, environ: Mapping[str, str] | None = None, here: Path | None = None) -> Found:
    """The project that ``given`` names, else ``TASUKI_PROJECT``, ``[tool.tasuki]``, else the only one of the folder.

    Args:
        given: a folder, a YAML or Python file, or ``package.module:app``.
        environ: default the process environment.
        here: where relative names start; default the current folder.

    Raises:
        ConfigError: there is none, or several; the message lists the places searched.
    """
    here = Path() if here is None else here
    environ = os.environ if environ is None else environ
    if given:
        return _named(given, here, "")
    if named := environ.get(VARIABLE):
        return _named(named, here, VARIABLE)
    if found := configured(here.resolve()):
        target, folder = found
        return _named(target, folder, str(folder / FILE), follows=False)
    looked_for = (
        "-p TARGET or the argument: not given",
        f"{VARIABLE}: not set",
        f"[tool.tasuki] in a {FILE}: none in {here.resolve()} or above",
    )
    return _only_one(here, "", looked_for)


def _named(name: str, here: Path, source: str, *, follows: bool = True) -> Found:
    """What a name means in a folder; ``follows``: a folder may name its project in a ``pyproject.toml`` of its own."""
    path = here / name
    if path.is_dir():
        if follows and (path / FILE).is_file() and (app := app_of(path / FILE)) is not None:
            return _named(app, path, str(path / FILE), follows=False)
        return _only_one(path, source, ())
    if path.is_file():
        return _in_file(path, source) if path.suffix == _PYTHON else Found(str(path), path.parent, source)
    module, colon, app = name.partition(":")
    if colon and (here / module).is_file():
        return _in_module(here / module, app, source)
    if colon:
        return Found(name, here, source)
    by = f"{source} names {name!r}, and there" if source else f"{name}: there"
    raise ConfigError(f"{by} is no such file or folder", hint=_hint_for_module(module, here))


def _hint_for_module(module: str, here: Path) -> str:
    path = here.joinpath(*module.split(".")).with_suffix(_PYTHON)
    if path.is_file():
        return f"did you mean {module}:{(apps_in(path) or ['app'])[0]}?"
    parent, dot, name = module.rpartition(".")
    path = here.joinpath(*parent.split(".")).with_suffix(_PYTHON) if dot else here
    if path.is_file() and name in apps_in(path):
        return f"did you mean {parent}:{name}?"
    near = did_you_mean(module, [each.name for each in here.iterdir() if each.is_dir() or each.suffix == _PYTHON])
    return near or "name a folder, a YAML file, a Python file or package.module:app"


def _in_file(path: Path, source: str) -> Found:
    names = apps_in(path)
    if len(names) == 1:
        return _in_module(path, names[0], source)
    module, _ = module_of(path)
    problem, hint = "the file makes no App at its top level", f"write app = App(), or name it: {module}:NAME"
    if names:
        problem, hint = "the file makes several Apps", f"say which: {' or '.join(f'{module}:{name}' for name in names)}"
    raise ConfigError(problem, position=Position(str(path)), hint=hint)


def _in_module(path: Path, name: str, source: str) -> Found:
    module, folder = module_of(path)
    return Found(f"{module}:{name}", folder, source, path)


def _only_one(folder: Path, source: str, looked_for: tuple[str, ...]) -> Found:
    found = [Found(str(folder), folder, source)] if _has_yaml(folder) else []
    with suppress(ConfigError) if found else nullcontext():
        found += [_in_module(path, name, source) for path, name in files_with_apps(folder)]
    if not found and next(_project_files(folder), None):
        found = [Found(str(folder), folder, source)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"{each.target} (YAML)" if each.target == str(folder) else each.target for each in found)
        hint = f"say which, with -p, {VARIABLE}, or app of [tool.tasuki] in {FILE}"
        raise ConfigError(f"{folder.resolve()} holds several projects: {names}", hint=hint)
    lines = [
        *looked_for,
        f"YAML files with a namespace: none in {folder.resolve()}",
        f"Python files that assign an App(): none in {folder.resolve()}",
    ]
    near = " or ".join(f"-p {name}" for name in _below(folder)[:_SUGGESTED])
    hint = f"did you mean {near}?" if near else "name the project with -p, or make one: tasuki init DIR"
    raise ConfigError("\n  ".join(["there is no project here; looked for", *lines]) + "\n" + hint)


def _has_yaml(folder: Path) -> bool:
    """Whether a YAML project begins in the folder itself."""
    if (folder / "wippy.lock").exists():
        return True
    return any(_declares(path) for path in sorted(folder.iterdir()) if path.suffix in _YAML)


def _project_files(folder: Path) -> Iterator[Path]:
    from tasuki.registry.loader import yaml_files

    return filter(_declares, yaml_files(folder))


def _declares(path: Path) -> bool:
    from tasuki.registry.yaml import may_be_misspelt, may_declare

    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return may_declare(text) or may_be_misspelt(text)


def _below(folder: Path) -> list[str]:
    """Targets one folder further down, for the hint."""
    found = []
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.name.startswith((".", "_")):
            with suppress(ConfigError):
                found += [_in_module(path, name, "") for path, name in files_with_apps(child)]
    return [each.target if each.folder == folder else f"{each.file}:{each.name}" for each in found]
