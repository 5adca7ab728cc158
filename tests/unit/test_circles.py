"""No module needs, over others, itself: neither to run nor, outside of ``app``, for its types."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

SRC = Path(__file__).parents[2] / "src"

Edges = dict[str, set[str]]
"""Module → the modules that it imports."""


@cache
def modules() -> dict[str, ast.Module]:
    """Module → its code."""
    return {
        ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): ast.parse(path.read_text())
        for path in SRC.rglob("*.py")
    }


def imports(node: ast.AST, *, with_types: bool) -> Iterator[tuple[str, str]]:
    """Module and name of each import, those within functions too; ``with_types``: and those for type checkers only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):  # it holds no statement, and most nodes are one
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING" and not with_types:
            continue
        if isinstance(child, ast.ImportFrom):
            yield from ((child.module or "", alias.name) for alias in child.names)
        elif isinstance(child, ast.Import):
            yield from ((alias.name, "") for alias in child.names)
        yield from imports(child, with_types=with_types)


def edges(*, with_types: bool) -> Edges:
    """Who imports whom; a package counts only where something of its own file is imported."""
    code = modules()
    found: Edges = {}
    for module, tree in code.items():
        named = {(f"{where}.{name}", where) for where, name in imports(tree, with_types=with_types)}
        found[module] = {full if full in code else where for full, where in named} & code.keys() - {module}
    return found


def circle(edges: Edges) -> list[str]:
    """One circle; empty if there is none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_over_others() -> None:
    assert circle(edges(with_types=False)) == []


def test_only_in_the_app_types_refer_to_each_other_over_modules() -> None:
    outside = {
        module: {target for target in targets if not target.startswith("tasuki.app.")}
        for module, targets in edges(with_types=True).items()
    }
    assert circle(outside) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    tree = ast.parse("if TYPE_CHECKING:\n    from a import b\ndef f():\n    import c")
    assert list(imports(tree, with_types=False)) == [("c", "")]
    assert list(imports(tree, with_types=True)) == [("a", "b"), ("c", "")]
