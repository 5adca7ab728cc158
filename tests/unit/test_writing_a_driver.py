"""The pages for authors of drivers quote an example that works, and list the modules that it may import."""

from __future__ import annotations

import ast
import importlib
import io
import pkgutil
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tasuki.contracts.driver import CONTRACT
from tasuki.drivers import toolkit
from tasuki.errors import ProjectError
from tasuki.fields.types import DriverKind
from tasuki.kinds import kind as kinds
from tasuki.kinds.check.project import check
from tasuki.registry.loader import load

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "directory-driver"
SOURCES = [EXAMPLE / "directory_driver" / f"{name}.py" for name in ("settings", "typed", "entry", "driver")]
PAGE = (ROOT / "docs" / "writing-a-driver.md").read_text("utf-8")
REFERENCE = (ROOT / "docs" / "driver-reference.md").read_text("utf-8")
PUBLIC = re.findall(r"`(tasuki[\w.]+)`", REFERENCE.partition("## Public modules")[2])
PROJECT = (
    "namespace: app\nentries:\n- {name: d, kind: queue.driver.directory}\n- {name: q, kind: queue.queue, driver: d%s}\n"
)


def quoted(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def lines(*texts: str) -> list[str]:
    return [line for text in texts for line in text.splitlines() if line.strip()]


def code_lines(source: str) -> int:
    """Lines with code: no blank lines, comments and docstrings."""
    docs = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    outside = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = (token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type not in outside)
    return len({line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - docs)


def test_the_page_quotes_the_whole_example() -> None:
    files = [*SOURCES, EXAMPLE / "test_directory_driver.py"]
    assert lines(*quoted("python")) == lines(*[file.read_text("utf-8") for file in files])


def test_the_page_shows_the_package_as_it_is() -> None:
    (shown,) = map(tomllib.loads, quoted("toml"))
    package = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))["project"]
    assert {name: package[name] for name in shown["project"]} == shown["project"]


def test_the_example_is_short() -> None:
    code = [file.read_text("utf-8").partition("\n\n\n")[2] for file in SOURCES]
    assert len(lines(*code)) <= 200, "lines of the driver and its settings, without imports and blank lines"


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_module_says_what_it_is_for(name: str) -> None:
    module = importlib.import_module(name)
    own = [value for key, value in vars(module).items() if not key.startswith("_") and callable(value)]
    assert module.__doc__
    assert [value for value in own if getattr(value, "__module__", "") == name and not value.__doc__] == []
    assert all(hasattr(module, exported) for exported in getattr(module, "__all__", ()))


def test_the_whole_toolkit_is_public() -> None:
    found = pkgutil.walk_packages(toolkit.__path__, f"{toolkit.__name__}.")
    assert {module.name for module in found if not module.ispkg} <= set(PUBLIC)


def test_the_database_example_is_short() -> None:
    files = [*(ROOT / "examples" / "mariadb-driver").rglob("*.py")]
    assert sum(code_lines(file.read_text("utf-8")) for file in files) <= 970, "lines of code of the MariaDB driver"


@pytest.mark.parametrize("file", sorted(ROOT.glob("examples/*-driver/**/*.py")), ids=lambda file: file.name)
def test_an_example_imports_public_modules_only(file: Path) -> None:
    found = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
    names = {f"{node.module}.{alias.name}" for node in found for alias in node.names}
    ours = {name for name in names if name.startswith("tasuki.")}
    assert {name for name in ours if name not in PUBLIC and name.rpartition(".")[0] not in PUBLIC} == set()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example as an installed package, as far as entry points can tell."""
    package = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))["project"]
    monkeypatch.setattr(sys, "path", [str(EXAMPLE), *sys.path])
    monkeypatch.setattr(
        kinds,
        "entry_points",
        lambda group: [
            EntryPoint(name, value, group) for name, value in package["entry-points"].get(group, {}).items()
        ],
    )
    forget = (kinds._from_packages.cache_clear, kinds.find_kind.cache_clear)
    for clear in forget:
        clear()
    yield
    for clear in forget:
        clear()


@pytest.mark.usefixtures("installed")
def test_a_project_can_use_the_example(tmp_path: Path) -> None:
    kind = kinds.find_kind("queue.driver.directory")
    assert isinstance(kind, DriverKind)
    assert kind.contract == CONTRACT
    (tmp_path / "_index.yaml").write_text(PROJECT % "")
    check(load(tmp_path))


@pytest.mark.usefixtures("installed")
def test_a_project_cannot_ask_the_example_for_more(tmp_path: Path) -> None:
    (tmp_path / "_index.yaml").write_text(PROJECT % ", ordering: key")
    with pytest.raises(ProjectError, match="order"):
        check(load(tmp_path))
