"""Uses: the publish options in the project's code, by queue, as far as its sources show.

Only calls that name their queue literally are found: ``app.publish("tasks", …, priority=5)``,
``tasks = app.queue("tasks")`` with ``tasks.publish(…)``, and ``queue.publish("tasks", …)`` in Lua.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from tasuki.fields.types import Config
from tasuki.ids import resolve_id
from tasuki.kinds.check.requirements import REQUIREMENTS, Need
from tasuki.kinds.entries.function import LuaLibraryConfig, PythonFunctionConfig
from tasuki.kinds.entries.queue import RequirementName
from tasuki.registry.entry import Entry, Registry
from tasuki.units import parse_duration

OPTIONS: dict[str, RequirementName] = {
    "priority": "priority",
    "delay": "delay",
    "at": "delay",
    "connection": "transactional",
}
"""What an option requires of the driver, by the option's name."""


UNIQUE = ("unique", "unique_for", "on_conflict")
"""Options that require something of the driver by their values."""


_PUBLISHING = frozenset({"publish", "request"})

_LUA_CALL = re.compile(r"\bqueue\.publish\s*\(")

_LUA_REQUIRE = re.compile(r"(?<![\w.:])require\b")

_LUA_REQUIRED = re.compile(r"\s*\(?\s*([\"'])(\w+)\1")

_LUA_SKIPPED = re.compile(
    r"--\[(=*)\[.*?\]\1\]|--[^\n]*|\[(=*)\[.*?\]\2\]|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL
)

_LUA_NAME = re.compile(r"\s*([\"'])([\w.:-]+)\1\s*")

_LUA_DELAY = re.compile(r"\s*(?:([\"'])([\w.]+)\1|(\d+(?:\.\d+)?))\s*[,;}]")

_LUA_TEXT = re.compile(r"\s*([\"'])([\w.]+)\1\s*[,;}]")

_LUA_FIELD = re.compile(r"(?:^|[{,;\s])(\w+)\s*=(?!=)")


class Use(NamedTuple):
    """One option of one publish."""

    queue: str
    """As it is written: an id, or the name alone."""
    option: str
    line: int
    seconds: float = 0.0
    """Seconds of a constant delay."""
    requirement: RequirementName | None = None
    """What it requires by its value; None: what ``OPTIONS`` says."""


@lru_cache(maxsize=256)
def uses_in_python(text: str) -> list[Use]:
    """The uses in a module; none where it cannot be read."""
    try:
        with warnings.catch_warnings(action="ignore"):
            module = ast.parse(text)
            return list(_of_module(module))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _of_module(module: ast.Module) -> Iterator[Use]:
    handles = _handles(module)
    tasks = _tasks(module, handles)
    for call in ast.walk(module):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            queue, headers = _published_by(call, call.func, handles, tasks)
            for option in _options(call, headers) if queue else ():
                yield Use(queue, option, call.lineno, _delay_of(call) if option == "delay" else 0.0)
            for option, requirement in _unique_needs(_unique_of(call)) if queue else ():
                yield Use(queue, option, call.lineno, requirement=requirement)


def _published_by(
    call: ast.Call, verb: ast.Attribute, handles: dict[str, str], tasks: dict[str, str]
) -> tuple[str, int]:
    """As ``_target_of``; a task says its options with ``with_options``, and publishes its arguments."""
    if isinstance(verb.value, ast.Name) and verb.value.id in tasks:
        return (tasks[verb.value.id], len(call.args)) if verb.attr == "with_options" else ("", 0)
    return _target_of(call, handles) if verb.attr in _PUBLISHING else ("", 0)


def _tasks(module: ast.Module, handles: dict[str, str]) -> dict[str, str]:
    """Function → queue, of each function under ``@handle.task`` or ``@handle.task(…)``."""
    found = {}
    for node in ast.walk(module):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for mark in node.decorator_list:
            match mark.func if isinstance(mark, ast.Call) else mark:
                case ast.Attribute(value=ast.Name(id=name), attr="task") if name in handles:
                    found[node.name] = handles[name]
    return found


def _unique_of(call: ast.Call) -> dict[str, object]:
    """The options that make a message unique: their values where they are constants, else None."""
    given = ((keyword.arg, keyword.value) for keyword in call.keywords)
    return {name: getattr(value, "value", None) for name, value in given if name in UNIQUE}


def _unique_needs(given: Mapping[str, object]) -> Iterator[tuple[str, RequirementName]]:
    """What these options require, as far as their values tell."""
    span = given.get("unique_for")
    if span == "running":
        yield "unique_for", "unique.running"
    elif span == "pending" or ("unique" in given and "unique_for" not in given):
        yield "unique", "unique.pending"
    elif _seconds(span):
        yield "unique_for", "unique.window"
    if given.get("on_conflict") == "replace":
        yield "on_conflict", "unique.replace"
    elif given.get("on_conflict") == "extend":
        yield "on_conflict", "unique.extend"


def _delay_of(call: ast.Call) -> float:
    given = {keyword.arg: keyword.value for keyword in call.keywords}.get("delay")
    return _seconds(given.value) if isinstance(given, ast.Constant) else 0.0


def _seconds(value: object) -> float:
    """A duration; 0 for anything else."""
    try:
        return parse_duration(value)
    except ValueError:
        return 0.0


def _handles(module: ast.Module) -> dict[str, str]:
    """Variable → queue, of each assignment ``variable = ….queue("name", …)``; not of those that change."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(module):
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                found.setdefault(name, set()).add(_made_by(value))
    return {name: queues.pop() for name, queues in found.items() if len(queues) == 1 and "" not in queues}


def _made_by(node: ast.AST) -> str:
    """The queue of ``….queue("name")``; empty for anything else."""
    match node:
        case ast.Call(func=ast.Attribute(attr="queue"), args=[ast.Constant(value=str(name)), *_]):
            return name
    return ""


def _target_of(call: ast.Call, handles: dict[str, str]) -> tuple[str, int]:
    """The queue that a call publishes to, empty if unknown; and the position of its argument ``headers``."""
    match call:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name))) if name in handles:
            return handles[name], 1
        case ast.Call(func=ast.Attribute(value=ast.Call() as inner)) if queue := _made_by(inner):
            return queue, 1
        case ast.Call(args=[ast.Name(id=name), *_]) if name in handles:
            return handles[name], 2
        case ast.Call(args=[ast.Constant(value=str(name)), *_]) if len(call.args) > 1 or _keyword(call, "body"):
            return name, 2
        case ast.Call(args=[]) if isinstance(named := _keyword(call, "queue"), ast.Constant) and _keyword(call, "body"):
            return named.value if isinstance(named.value, str) else "", 2
    return "", 0


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _options(call: ast.Call, headers: int) -> Iterator[str]:
    """The options that a call gives; ``priority`` may be a header too."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    for name in OPTIONS.keys() & given.keys():
        if not (isinstance(given[name], ast.Constant) and not given[name].value):  # type: ignore[attr-defined]
            yield name
    node = given.get("headers", call.args[headers] if len(call.args) > headers else None)
    if isinstance(node, ast.Dict) and any(
        isinstance(key, ast.Constant) and key.value == "priority" for key in node.keys
    ):
        yield "priority"


@lru_cache(maxsize=256)
def uses_in_lua(text: str) -> list[Use]:
    """The uses in a script."""
    blank = _without_texts(text)
    found: list[Use] = []
    for call in _LUA_CALL.finditer(blank):
        arguments = _arguments(blank, call.end())
        if len(arguments) < 3 or not (name := _LUA_NAME.fullmatch(text, *arguments[0])):
            continue
        line = text.count("\n", 0, call.start()) + 1
        for start, end in arguments[2:4]:
            given = {field[1]: start + field.end() for field in _LUA_FIELD.finditer(_top_level(blank[start:end]))}
            for option in OPTIONS.keys() & given.keys():
                delay = _LUA_DELAY.match(text, given[option]) if option == "delay" else None
                seconds = _seconds(delay[2] or float(delay[3])) if delay else 0.0
                found.append(Use(name[2], option, line, seconds))
            unique = {option: _lua_text(text, given[option]) for option in UNIQUE if option in given}
            found += [Use(name[2], option, line, requirement=need) for option, need in _unique_needs(unique)]
    return found


def _lua_text(text: str, place: int) -> str | None:
    """The text that stands there; None for anything else."""
    found = _LUA_TEXT.match(text, place)
    return found[2] if found else None


def requires_in_lua(text: str) -> Iterator[tuple[str, int]]:
    """Name and line of each ``require("name")``, outside of comments and texts."""
    blank = _without_texts(text)
    for call in _LUA_REQUIRE.finditer(blank):
        if name := _LUA_REQUIRED.match(text, call.end()):
            yield name[2], text.count("\n", 0, call.start()) + 1


def _without_texts(text: str) -> str:
    """A script with blanks for its comments and texts, everything in its place."""
    return _LUA_SKIPPED.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def _arguments(text: str, start: int) -> list[tuple[int, int]]:
    """Where the arguments of a call stand, of a text without comments and strings; none if it does not end."""
    found: list[tuple[int, int]] = []
    depth, begin = 0, start
    for place in range(start, len(text)):
        sign = text[place]
        if sign in "({[":
            depth += 1
        elif sign in ")}]":
            if depth == 0:
                return [*found, (begin, place)]
            depth -= 1
        elif sign == "," and depth == 0:
            found.append((begin, place))
            begin = place + 1
    return []


def _top_level(table: str) -> str:
    """A table constructor without the tables and calls within it, everything in its place."""
    begin = len(table) - len(table.lstrip()) + 1
    inner = " " * begin + table.rstrip()[begin:-1] if table.lstrip().startswith("{") else ""
    while (shorter := re.sub(r"\{[^{}]*\}|\([^()]*\)", lambda found: " " * len(found[0]), inner)) != inner:
        inner = shorter
    return inner


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
