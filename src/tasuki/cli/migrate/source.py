"""A file of Python: its syntax tree, the names that it imports and binds, and the place of each node in its text."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_LINE = re.compile(r"\r\n|\r|\n")


class SourceFile:
    """One file. Raises SyntaxError or UnicodeDecodeError: it is no Python of this version.

    Args:
        path: where it is.
        shown: its path within the project, with slashes.
        data: its bytes.
    """

    def __init__(self, path: Path, shown: str, data: bytes) -> None:
        self.path = path
        self.shown = shown
        self.encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
        self.text = data.decode(self.encoding)
        self.tree = ast.parse(self.text)
        pure = PurePosixPath(shown)
        self.is_package = pure.name == "__init__.py"
        self.parts = pure.parent.parts if self.is_package else (*pure.parent.parts, pure.stem)
        self.name = ".".join(self.parts)
        """By which the project imports it; ``OldProject`` shortens it to what starts at an import root."""
        self.imports: dict[str, str] = {}
        """Name → dotted origin, of imports anywhere in the file; relative ones begin with the dotted path."""
        self.stars: list[str] = []
        self._scoped: dict[tuple[ast.AST | None, str], str] = {}
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}
        """Node → the node that has it."""
        self.bound = dict(self._read_bound())
        """Names that the module binds at its top → the last value; of functions and classes None."""
        self.functions = {node.name: node for node in self.tree.body if isinstance(node, Function)}
        """Functions at the top of the module."""
        self._own: dict[ast.AST, set[str]] = {}
        for node in ast.walk(self.tree):
            self._read_import(node)

    def with_text(self, text: str) -> SourceFile:
        """The same file with another text."""
        return SourceFile(self.path, self.shown, text.encode(self.encoding))

    def _read_import(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                self._bind(node, name, alias.name if alias.asname else name)
        elif isinstance(node, ast.ImportFrom):
            base = self.absolute(node)
            for alias in node.names:
                if alias.name == "*":
                    self.stars.append(base)
                else:
                    origin = f"{base}.{alias.name}".lstrip(".").replace("/.", "/")
                    self._bind(node, alias.asname or alias.name, origin)

    def _bind(self, node: ast.AST, name: str, origin: str) -> None:
        self.imports[name] = self._scoped[self.scope_of(node), name] = origin

    def imported(self, name: ast.Name) -> str | None:
        """Where a name is imported from: in the functions around it, else in the module."""
        scopes = [each for each in self.above(name) if isinstance(each, Scope)]
        return next(
            (self._scoped[scope, name.id] for scope in (*scopes, None) if (scope, name.id) in self._scoped), None
        )

    def absolute(self, node: ast.ImportFrom) -> str:
        """The dotted module of an import; of a relative one the path within the project."""
        if not node.level:
            return node.module or ""
        up = node.level - (1 if self.is_package else 0)
        base = self.parts[: len(self.parts) - up]
        return "/" + ".".join([*base, *filter(None, [node.module])])

    def _read_bound(self) -> Iterator[tuple[str, ast.expr | None]]:
        for node in self.tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(target, ast.Name):
                        yield target.id, node.value
            elif isinstance(node, Function | ast.ClassDef):
                yield node.name, None

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around a node, the nearest first."""
        while (node := self.parents.get(node)) is not None:  # type: ignore[assignment]
            yield node

    def scope_of(self, node: ast.AST) -> Function | ast.Lambda | None:
        """The function around a node; None: the module."""
        return next((each for each in self.above(node) if isinstance(each, Scope)), None)

    def is_local(self, name: ast.Name) -> bool:
        """Whether a function around it gives the name another meaning than the module has."""
        return any(name.id in self._own_names(scope) for scope in self.above(name) if isinstance(scope, Scope))

    def _own_names(self, scope: Function | ast.Lambda) -> set[str]:
        """Names of its parameters, and those that it assigns."""
        found = self._own.get(scope)
        if found is None:
            stored = {each.id for each in ast.walk(scope) if isinstance(each, ast.Name) and not _is_load(each)}
            found = {*stored, *(each.arg for each in ast.walk(scope.args) if isinstance(each, ast.arg))}
            self._own[scope] = found
        return found

    def start(self, node: ast.AST) -> int:
        """Where a node begins in the text."""
        return self._at(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        """Where a node ends in the text."""
        return self._at(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def _at(self, line: int, column: int) -> int:
        """The place of a line, from 1 on, and a column in bytes of UTF-8."""
        begin = self._lines[line - 1]
        return begin + len(self.text[begin : begin + column].encode()[:column].decode())

    @cached_property
    def _lines(self) -> list[int]:
        return [0, *(match.end() for match in _LINE.finditer(self.text))]

    def line_start(self, line: int) -> int:
        """Where a line begins; of the line after the last one the end."""
        return self._lines[line - 1] if line <= len(self._lines) else len(self.text)

    def words(self, node: ast.AST) -> str:
        """The text of a node."""
        return self.text[self.start(node) : self.end(node)]


def _is_load(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Load)


def literal(node: ast.AST | None) -> object:
    """The value of a literal; Ellipsis: it is none."""
    try:
        return ast.literal_eval(node) if isinstance(node, ast.expr) else ...
    except (ValueError, TypeError, SyntaxError, MemoryError):
        return ...
