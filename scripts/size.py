"""Print how large the project is, and fail where it is larger than its budget.

A code line has a token of code: no blank, comment or docstring (a string that is a statement). Lines of SQL, Lua and
pages are those with text that is no comment. Lower a budget with each change that takes lines away; raise one only with
a reason in an ADR.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
SRC: Final = ROOT / "src" / "tasuki"
OTHER: Final = {".sql": "--", ".lua": "--", ".html": "<!--", ".css": "/*", ".js": "//"}
_NO_CODE: Final = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


SUBJECTS: Final = {
    "dead letters": (r"dead|letter|redrive|cause|mending|retrying", 5_970),
    "limits and lanes": (r"limit|lane|places", 3_395),
    "SQLite and PostgreSQL, without SQL": (r"^drivers/(sqlite|postgres)/.*\.py$", 6_420),
    "desk, top and mcp, without pages": (r"^(desk|top|mcp)/.*\.py$", 11_150),
}
"""Subjects of several packages: a pattern for the paths of their files, and a budget."""


class Row(NamedTuple):
    """A count, and its budget."""

    what: str
    found: int
    budget: int


class Source:
    """A file of Python: its code lines, and the public classes that it defines."""

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        strings: set[int] = set()
        self.classes: set[str] = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                self.classes.add(node.name)
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                strings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        found: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type not in _NO_CODE:
                found.update(range(token.start[0], token.end[0] + 1))
        self.lines = len(found - strings)


def rows() -> Iterator[Row]:
    """Count everything."""
    sources = {path: Source(path) for path in SRC.rglob("*.py")}
    lines = sum(source.lines for source in sources.values())
    texts = {path: _text_lines(path) for path in SRC.rglob("*") if path.suffix in OTHER}
    others = sum(texts.values())
    names = Counter(name for path, source in sources.items() if "drivers" not in path.parts for name in source.classes)
    yield Row("src, lines of Python", lines, 97_055)
    yield Row("src, lines of all languages", lines + others, 108_510)
    all_lines = {path: source.lines for path, source in sources.items()} | texts
    for subject, (pattern, budget) in SUBJECTS.items():
        found = (path for path in all_lines if re.search(pattern, path.relative_to(SRC).as_posix()))
        yield Row(f"  {subject}", sum(all_lines[path] for path in found), budget)
    yield Row("src, modules", len(sources), 823)
    yield Row("src, folders", len({path.parent for path in sources}), 126)
    yield Row("tests, lines of Python", sum(Source(path).lines for path in (ROOT / "tests").rglob("*.py")), 114_025)
    yield Row("class names used twice, outside drivers", sum(files > 1 for files in names.values()), 30)


def _text_lines(path: Path) -> int:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return sum(bool(line) and not line.startswith(OTHER[path.suffix]) for line in lines)


def main() -> int:
    """Print the table; 1 if a budget is exceeded."""
    counted = list(rows())
    for row in counted:
        print(f"{row.what:42} {row.found:8,} of {row.budget:8,}{'  TOO MUCH' if row.found > row.budget else ''}")
    return any(row.found > row.budget for row in counted)


if __name__ == "__main__":
    sys.exit(main())
