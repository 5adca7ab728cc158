"""The rules for finding a project, in order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from tasuki.errors import ConfigError, Position
from tasuki.registry.finding.modules import apps_in, files_with_apps, module_of
from tasuki.registry.finding.pyproject import FILE, app_of, configured
from tasuki.registry.references import did_you_mean

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
    from tasuki.registry.yaml.declarations import may_be_misspelt, may_declare

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
