"""What a source file holds: read from one queue, published to another."""

from __future__ import annotations

import ast
import asyncio
import sysconfig
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasuki import Context

LIBRARY = Path(sysconfig.get_path("stdlib"))

# One at a time: Python 3.11 counts the depth of its syntax trees for all threads together, and raises SystemError.
PARSER = threading.Lock()

# The files are looked at, not run: odd escapes in them are not our business.
warnings.filterwarnings("ignore", category=SyntaxWarning)


async def parse(path: str, context: Context) -> None:
    """The handler. A file that does not parse raises, so it is tried again, and becomes a dead letter in the end."""
    found = await asyncio.to_thread(look_into, Path(path))
    await context.publish("found", found)


def look_into(path: Path) -> dict[str, Any]:
    """Count what the file holds."""
    source = path.read_bytes()
    with PARSER:
        tree = ast.parse(source, filename=path.name)
    nodes = list(statements(tree))
    counts = Counter(type(node).__name__ for node in nodes)
    return {
        "path": str(path),
        "module": module_of(path),
        "lines": len(source.splitlines()),
        "functions": counts["FunctionDef"] + counts["AsyncFunctionDef"],
        "classes": counts["ClassDef"],
        "imports": sorted(imported(nodes)),
    }


def statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Every statement, nested ones too. Expressions are passed over: they are most of a tree, and hold none of this."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting.extend(getattr(node, field, ()))


def module_of(path: Path) -> str:
    """The top-level module or package that the file belongs to."""
    relative = path.relative_to(LIBRARY) if path.is_relative_to(LIBRARY) else Path(path.name)
    return relative.parts[0].removesuffix(".py")


def imported(nodes: list[ast.AST]) -> set[str]:
    """Top-level names of the modules that are imported, except relative ones."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names
