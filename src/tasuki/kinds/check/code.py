"""Code: checks that the sources of functions parse and have the names that their entries use; runs none of them."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec

from tasuki.errors import ConfigError, InvalidEntryError, MissingReferenceError, Position
from tasuki.kinds.check.project import Project
from tasuki.kinds.check.uses import requires_in_lua, shown_file
from tasuki.kinds.entries.function import LuaLibraryConfig, PythonCodeConfig, optional_modules
from tasuki.registry.entry import HIDDEN, Entry, did_you_mean, shown
from tasuki.registry.loader import Source
from tasuki.scalars import Substituted

_ANYTHING = frozenset({"__getattr__", "globals", "locals", "exec", "vars", "setattr", "modules", "__dict__"})
"""A module that mentions one of these, if only in its own decorator, may have any name."""


def problems_of_code(project: Project) -> list[ConfigError]:
    """What would fail when the functions are loaded, as far as reading them tells."""
    found: list[ConfigError] = []
    for id, config in project.configs.items():
        entry = project.registry.entries[id]
        if isinstance(config, LuaLibraryConfig):
            found += _of_lua(entry, config.source)
            found += _of_requires(entry, config)
        elif isinstance(config, PythonCodeConfig) and config.source is not None:
            found += _of_python(entry, config.source, config.method or "")
        elif isinstance(config, PythonCodeConfig) and config.target is not None:
            found += _of_target(entry, config.target.partition(":")[0].partition(".")[0])
    return found


def _of_target(entry: Entry, package: str) -> Iterator[ConfigError]:
    """Only the first name is looked up: to look inside a package, Python would run the package."""
    with suppress(ValueError):  # already loaded, from an unknown place
        if find_spec(package) is None:
            name = shown(package, entry.data.get("target"))
            hint = "install it, or start tasuki in the folder that has it"
            yield entry.error(f"target: there is no module {name}", ("target",), hint, MissingReferenceError)


def _of_lua(entry: Entry, source: Source) -> Iterator[ConfigError]:
    from tasuki.handlers.lua.host.runtime import syntax_problem

    problem = syntax_problem(source.text)
    if problem is None:
        return
    line, what = problem
    if source.file is not None:
        yield InvalidEntryError(what, position=Position(shown_file(source.file), line), entry=entry.id)
    else:
        name = source.text.strip()
        if isinstance(source.text, Substituted):
            name, what = "", f"a mistake in {HIDDEN}"
        path = name.rpartition(":")[2].replace("\\", "/").lstrip("/") if "\\" in name else name
        hint = f"for a file write file://{path}" if name.endswith(".lua") and len(name.split()) == 1 else ""
        yield entry.error(f"line {line} of the script: {what}", ("source",), hint)


def _of_requires(entry: Entry, config: LuaLibraryConfig) -> Iterator[ConfigError]:
    """Modules that a script requires and its entry does not list, if they exist: ``require`` would not find them."""
    listed = {*config.modules, *config.imports}
    for name, line in requires_in_lua(config.source.text):
        if name not in listed and name in optional_modules():
            file = config.source.file
            place = entry.position(("source",)) if file is None else Position(shown_file(file), line)
            hint = f"write modules: [{', '.join([*config.modules, name])}]"
            yield InvalidEntryError(
                f"the script requires {name!r}, which the entry does not list",
                position=place,
                entry=entry.id,
                hint=hint,
            )


def _of_python(entry: Entry, source: Source, method: str) -> Iterator[ConfigError]:
    assert source.file is not None  # the model has seen to that
    file = shown_file(source.file)
    try:
        with warnings.catch_warnings(action="ignore"):  # the code's own, about escapes and the like
            module = ast.parse(source.text, file)
        names, may_have_any = set(_names(module)), any(map(_gives_any_name, ast.walk(module)))
    except SyntaxError as error:
        place = Position(file, error.lineno or 0, error.offset or 0)
        yield InvalidEntryError(error.msg, position=place, entry=entry.id)
        return
    except ValueError as error:  # a null byte
        yield InvalidEntryError(str(error), position=Position(file), entry=entry.id)
        return
    except (RecursionError, MemoryError):  # an expression of thousands of parts, which Python itself may take
        return
    if method not in names and not may_have_any:
        hint = did_you_mean(method, sorted(names))
        yield entry.error(f"{source.file.name} has no {method!r}", ("method",), hint, MissingReferenceError)


def _names(node: ast.AST) -> Iterator[str]:
    """What a module names at its top, also under an ``if``, ``try``, ``with`` or loop there, or only uses there."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield child.name
        elif isinstance(child, ast.alias):
            yield (child.asname or child.name).partition(".")[0]
        elif isinstance(child, ast.Name):
            yield child.id
        elif isinstance(child, ast.MatchAs | ast.MatchStar) and child.name:
            yield child.name
        else:
            yield from _names(child)


def _gives_any_name(node: ast.AST) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.FunctionDef(name=name):
            return name in _ANYTHING
        case ast.ImportFrom(names=[ast.alias(name="*")]) | ast.Global():
            return True
    return False
