"""The project that moves: its files, where its names come from, its tasks, and the changes and places found so far."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tasuki.cli.migrate.source import Function, SourceFile

SKIPPED = frozenset({"node_modules", "site-packages", "__pycache__", "venv", "env", "build", "dist"})
FOREIGN = frozenset(
    {"celery", "rq", "redis", "django_rq", "flask_rq", "django", "kombu", "tasuki", "django_celery_beat"}
)
"""Packages that a file of the same name in the project is not taken for."""

State = Literal["rewritten", "stays", "check", "by hand"]
"""``stays``: could be rewritten, and stays with its task."""


@dataclass(slots=True)
class OldPlace:
    """One place of a file; ``write``: the line to write there."""

    file: str
    line: int
    column: int
    state: State
    what: str
    write: str = ""
    task: str = ""


@dataclass(eq=False, slots=True)
class OldTask:
    """A function that becomes a task; it moves with all of its places, or stays as it is."""

    source: SourceFile
    function: Function
    queue: str
    name: str | None = None
    rules: dict[str, str] = field(default_factory=dict)
    """Options of the new decorator, as texts."""
    decorator: ast.expr | None = None
    stays: bool = False
    returns_id: bool = False
    """Whether a caller keeps the id of its message."""
    is_bound: bool = False
    """Whether its first parameter is the task itself."""
    is_called: bool = False
    """Whether the function is also called directly."""
    false: list[ast.Return] = field(default_factory=list)
    """Where it returns False."""


@dataclass(eq=False, slots=True)
class TextChange:
    """Replace a part of a file's text; for a task: only if the task moves."""

    source: SourceFile
    start: int
    end: int
    text: str
    place: OldPlace | None
    task: OldTask | None = None


Table = tuple[SourceFile, ast.Dict, list[tuple[ast.expr | None, ast.expr, OldTask | None]]]


class OldProject:
    """All files of Python below a folder, or one file.

    Raises OSError: it cannot be read.
    """

    def __init__(self, root: Path, texts: Mapping[str, str] | None = None, before: OldProject | None = None) -> None:
        """Read it.

        Args:
            root: the folder or the file.
            texts: path within the project → a text in place of the file's.
            before: the same project; its other files are taken as they were read.
        """
        self.texts = texts or {}
        self._before = {each.shown: each for each in before.sources} if before else {}
        self.root = root if root.is_dir() else root.parent
        self.places: list[OldPlace] = []
        self.changes: list[TextChange] = []
        self.tasks: dict[str, OldTask] = {}
        """Dotted origin of the function → the task."""
        self.tables: list[Table] = []
        """Dicts of schedules: the file, the dict, and its entries with the tasks that move away."""
        self.needs: dict[SourceFile, set[str]] = {}
        """Names of ``tasuki`` that a file needs."""
        self.sources: list[SourceFile] = list(self._read([root] if root.is_file() else sorted(python_files(root))))
        self._by_name: dict[str, SourceFile] = {}
        self._by_path = {".".join(source.parts): source for source in self.sources}
        for source in sorted(self.sources, key=lambda each: len(each.parts)):
            for cut in range(len(source.parts)):
                if cut == 0 or not self._is_package(source.parts[:cut]):
                    self._by_name.setdefault(".".join(source.parts[cut:]), source)
        self._shorten()
        self.is_django = any(
            name == "django" or name.startswith("django.") for each in self.sources for name in each.imports.values()
        ) and any("INSTALLED_APPS" in each.bound for each in self.sources)

    def _read(self, paths: list[Path]) -> Iterator[SourceFile]:
        for path in paths:
            shown = path.relative_to(self.root).as_posix()
            try:
                source = self._before.get(shown) or SourceFile(path, shown, path.read_bytes())
                yield source.with_text(self.texts[shown]) if shown in self.texts else source
            except (SyntaxError, UnicodeDecodeError) as error:
                line = error.lineno if isinstance(error, SyntaxError) else 1
                self.places.append(OldPlace(shown, line or 1, 1, "by hand", f"cannot be read: {error}"))

    def _is_package(self, parts: tuple[str, ...]) -> bool:
        return self.root.joinpath(*parts, "__init__.py").exists()

    def _shorten(self) -> None:
        """Give each file the name by which the project imports it, or the one that starts at its import root."""
        used: dict[SourceFile, str] = {}
        for source in self.sources:
            for dotted in {*source.imports.values(), *source.stars}:
                parts = dotted.split(".")
                for cut in range(len(parts), 0, -1):
                    if not dotted.startswith("/") and (found := self.find(".".join(parts[:cut]))):
                        used[found] = max(used.get(found, ""), ".".join(parts[:cut]), key=len)
                        break
        for source in self.sources:
            cut = max((n for n in range(1, len(source.parts)) if not self._is_package(source.parts[:n])), default=0)
            source.name = used.get(source, ".".join(source.parts[cut:]))

    def find(self, dotted: str) -> SourceFile | None:
        """The file of a module; a name that begins with a slash is a path within the project."""
        if dotted.startswith("/"):
            return self._by_path.get(dotted[1:])
        return None if dotted.partition(".")[0] in FOREIGN else self._by_name.get(dotted)

    def origin(self, source: SourceFile, node: ast.AST) -> str:
        """Where a name, or a name with attributes, comes from; empty: it cannot be known.

        A name of the project is the path of its file, a colon and the rest: ``shop/tasks.py:add``.
        """
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or source.is_local(node):
            return ""
        if imported := source.imported(node):
            return self.follow(".".join([imported, *parts]))
        return f"{source.shown}:{'.'.join([node.id, *parts])}"

    def follow(self, dotted: str, depth: int = 0) -> str:
        """A dotted name through the imports of the project's files, to the file that binds it."""
        parts = dotted.split(".")
        for cut in range(len(parts) - 1, 0, -1):
            if (found := self.find(".".join(parts[:cut]))) is None or depth > 9:
                continue
            name, rest = parts[cut], parts[cut:]
            if name in found.imports and name not in found.bound:
                return self.follow(".".join([found.imports[name], *rest[1:]]), depth + 1)
            for star in found.stars:
                if name not in found.bound and (other := self.find(star)) and name in {*other.bound, *other.imports}:
                    return self.follow(".".join([star, *rest]), depth + 1)
            return f"{found.shown}:{'.'.join(rest)}"
        return dotted

    def value(self, source: SourceFile, node: ast.AST | None) -> tuple[SourceFile, ast.AST | None]:
        """What a name at the top of a module was assigned, with the file; another node is its own value."""
        for _ in range(5):
            if not isinstance(node, ast.Name | ast.Attribute):
                break
            file, _, name = self.origin(source, node).partition(":")
            found = next((each for each in self.sources if each.shown == file), None)
            if found is None or found.bound.get(name) is None:
                break
            source, node = found, found.bound[name]
        return source, node

    def note(
        self, source: SourceFile, node: ast.AST, state: State, what: str, write: str = "", task: OldTask | None = None
    ) -> OldPlace:
        """Record a place; one to change by hand keeps its task where it is."""
        column = len(source.text[source.line_start(node.lineno) : source.start(node)]) + 1  # type: ignore[attr-defined]
        name = task.function.name if task else ""
        place = OldPlace(source.shown, node.lineno, column, state, what, write, name)  # type: ignore[attr-defined]
        self.places.append(place)
        if task is not None and state == "by hand":
            task.stays = True
        return place

    def change(
        self,
        source: SourceFile,
        span: ast.AST | tuple[int, int],
        text: str,
        at: ast.AST | None = None,
        what: str = "",
        task: OldTask | None = None,
    ) -> None:
        """Plan a change of a text; ``at`` and ``what``: the place that it is listed under."""
        start, end = span if isinstance(span, tuple) else (source.start(span), source.end(span))
        place = None if at is None else self.note(source, at, "rewritten", what, "", task)
        if place is not None:
            self.places.remove(place)  # listed when it is sure to be made
        self.changes.append(TextChange(source, start, end, text, place, task))


def python_files(root: Path) -> Iterator[Path]:
    """All files of Python below a folder, without environments, builds and hidden folders."""
    for folder, folders, files in os.walk(root):
        folders[:] = [
            each
            for each in folders
            if each not in SKIPPED and not each.startswith(".") and not (Path(folder, each) / "pyvenv.cfg").exists()
        ]
        yield from (Path(folder, each) for each in files if each.endswith(".py"))
