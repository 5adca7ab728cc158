"""Publishing: the sources of a project, and the requirements of queues that their code implies."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from tasuki.fields.types import Config
from tasuki.ids import resolve_id
from tasuki.kinds.check.requirements import REQUIREMENTS, Need
from tasuki.kinds.check.uses import OPTIONS, Use, uses_in_lua, uses_in_python
from tasuki.kinds.entries.function import LuaLibraryConfig, PythonFunctionConfig
from tasuki.kinds.entries.queue import RequirementName
from tasuki.registry.entry import Entry
from tasuki.registry.registry import Registry

Needs = dict[str, dict[RequirementName, Need]]
"""Queue id → the requirements of its publishers in the project, by name."""


def needs_of_publishers(registry: Registry, configs: Mapping[str, Config]) -> Needs:
    """What the code of all functions and of the app's modules publishes with, as far as reading tells."""
    found: Needs = {}
    for entry, file, uses in _uses(registry, configs):
        for use in uses:
            name, label = use.requirement or OPTIONS[use.option], _label(use, file)
            needs = found.setdefault(resolve_id(use.queue, entry.namespace), {})
            needs.setdefault(name, Need((), label, REQUIREMENTS[name]))
    return found


def longest_delays(registry: Registry, configs: Mapping[str, Config]) -> dict[str, tuple[float, str]]:
    """Queue id → the longest constant delay in the code, and its place."""
    found: dict[str, tuple[float, str]] = {}
    for entry, file, uses in _uses(registry, configs):
        for use in uses:
            id = resolve_id(use.queue, entry.namespace)
            if use.seconds > found.get(id, (0.0, ""))[0]:
                found[id] = (use.seconds, _label(use, file))
    return found


def _label(use: Use, file: str) -> str:
    return f"publish(…, {use.option}=…) at {shown_file(file)}:{use.line}"


def _uses(registry: Registry, configs: Mapping[str, Config]) -> Iterator[tuple[Entry, str, list[Use]]]:
    modules: dict[str, Entry] = {}
    for entry in registry:
        config = configs.get(entry.id)
        if isinstance(config, LuaLibraryConfig):
            yield entry, str(config.source.file or entry.id), uses_in_lua(config.source.text)
        elif isinstance(config, PythonFunctionConfig) and config.source is not None:
            yield entry, str(config.source.file), uses_in_python(config.source.text)
        for file in _modules_of(entry, config):
            modules.setdefault(file, entry)
    for file, entry in modules.items():
        with suppress(OSError, UnicodeDecodeError):
            yield entry, file, uses_in_python(Path(file).read_text("utf-8"))


def _modules_of(entry: Entry, config: Config | None) -> Iterator[str]:
    """The Python files that an entry comes from: where it was declared, and where its function is."""
    place = entry.position(())
    if place is not None and place.file.endswith(".py"):
        yield place.file
    if isinstance(config, PythonFunctionConfig):
        name = config.target.partition(":")[0] if config.target else getattr(entry.target, "__module__", None)
        file = getattr(sys.modules.get(name or ""), "__file__", None) or _file_of(name or "")
        if file:
            yield file


def _file_of(module: str) -> str | None:
    """The file of a module that nothing has imported; importing would run it."""
    parts = module.split(".")
    for folder in sys.path if module else ():
        for path in (Path(folder, *parts).with_suffix(".py"), Path(folder, *parts, "__init__.py")):
            if path.is_file():
                return str(path)
    return None


def shown_file(file: Path | str) -> str:
    """A file from the current folder on, if it is there."""
    return str(file).removeprefix(os.getcwd() + os.sep)
