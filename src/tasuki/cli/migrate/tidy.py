"""The rest, when tasks have moved: unused imports of the old library, and its app."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from tasuki.cli.migrate.project import OldProject, TextChange
from tasuki.cli.migrate.source import SourceFile


def apply(source: SourceFile, changes: Iterable[TextChange], variables: Mapping[str, str]) -> str:
    """The text with its changes; ``variables``: queue → the name of its variable."""
    parts, last = [], 0
    newline = "\r\n" if "\r\n" in source.text else "\n"
    for change in sorted(changes, key=lambda each: (each.start, each.end)):
        text = change.text
        if change.task and change.task.queue in variables:
            text = text.replace("{queue}", variables[change.task.queue])
        parts += [source.text[last : change.start], text.replace("\n", newline)]
        last = change.end
    return "".join([*parts, source.text[last:]])


def tidied(
    read: Callable[[OldProject], Any], project: OldProject, root: Path, texts: Mapping[str, str]
) -> dict[str, str]:
    """Path → text without imports of the old library that nothing uses now, and without its app if nothing needs it."""
    known = {each.shown for each in project.sources}
    after = OldProject(root, {path: text for path, text in texts.items() if path in known}, project)
    reader = read(after)
    after.changes.clear()
    gone = reader.left_over()
    for source, statement in gone:
        _remove(after, source, statement)
    found = _applied(after)
    final = OldProject(root, {**after.texts, **found}, after)
    files = {source.shown for source, _ in gone}
    for source in final.sources:
        if source.shown in texts or gone:
            apps = reader.apps if source.shown in texts else ()
            _Imports(final, source, reader.packages, files, apps).remove_unused()
    return found | _applied(final)


def _applied(project: OldProject) -> dict[str, str]:
    return {
        source.shown: apply(source, changes, {}).lstrip("\r\n")
        for source in project.sources
        if (changes := [change for change in project.changes if change.source is source])
    }


def _remove(project: OldProject, source: SourceFile, statement: ast.stmt) -> None:
    """Remove a statement with its lines, unless they have another one too."""
    start = source.line_start(statement.lineno)
    end = source.line_start((statement.end_lineno or statement.lineno) + 1)
    rest = source.text[start : source.start(statement)] + source.text[source.end(statement) : end].partition("#")[0]
    if not rest.strip():
        project.change(source, (start, end), "")


class _Imports:
    """The imports of one file. ``gone``: the files whose apps are gone; ``apps``: origins of other apps."""

    def __init__(
        self,
        project: OldProject,
        source: SourceFile,
        packages: Collection[str],
        gone: Collection[str],
        apps: Collection[str],
    ) -> None:
        self._project = project
        self._source = source
        self._packages = packages
        self._gone = gone
        self._apps = apps
        names = {each.id for each in ast.walk(source.tree) if isinstance(each, ast.Name)}
        others = {name for each in project.sources for name in each.imports.values()}
        self._used = names | {name for name in source.imports if f"{source.name}.{name}" in others}
        self._exported = {each.value for each in ast.walk(source.tree) if isinstance(each, ast.Constant)}

    def remove_unused(self) -> None:
        """Plan the removal of names that nothing uses now."""
        for node in ast.walk(self._source.tree):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            left = [alias for alias in node.names if not self._is_unused(node, alias)]
            if len(left) == len(node.names):
                continue
            self._unexport({alias.asname or alias.name for alias in node.names if alias not in left})
            if left:
                head = (
                    "import" if isinstance(node, ast.Import) else f"from {'.' * node.level}{node.module or ''} import"
                )
                shown = ", ".join(map(self._source.words, left))
                self._project.change(self._source, node, f"{head} {shown}")
            elif len(getattr(parent := self._source.parents[node], "body", ())) > 1 or isinstance(parent, ast.Module):
                _remove(self._project, self._source, node)
            else:
                self._project.change(self._source, node, "pass")

    def _is_unused(self, node: ast.Import | ast.ImportFrom, alias: ast.alias) -> bool:
        base = self._source.absolute(node) if isinstance(node, ast.ImportFrom) else ""
        name = alias.asname or alias.name.partition(".")[0]
        if name in self._used:
            return False
        if (base or alias.name).partition(".")[0] in self._packages:
            return name not in self._exported
        origin = self._project.follow(f"{base}.{alias.name}".lstrip(".").replace("/.", "/"))
        if origin in self._apps:
            return name not in self._exported
        file, _, app = origin.partition(":")
        return file in self._gone and any(
            each.shown == file and app not in each.bound for each in self._project.sources
        )

    def _unexport(self, names: set[str]) -> None:
        """Take names out of ``__all__``."""
        for node in self._source.tree.body:
            if not isinstance(node, ast.Assign) or self._source.words(node.targets[0]) != "__all__":
                continue
            items = [each for each in ast.walk(node.value) if isinstance(each, ast.Constant)]
            left = [self._source.words(each) for each in items if each.value not in names]
            if not left:
                _remove(self._project, self._source, node)
            elif len(left) < len(items):
                self._project.change(self._source, node.value, f"[{', '.join(left)}]")
