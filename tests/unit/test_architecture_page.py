"""The page on the architecture names folders, modules and layers as they are, and stays short."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tasuki"
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
TREE, LAYERS, WAY = re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_tree_names_every_package() -> None:
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    named = {name for line in TREE.splitlines() if line[0] in "├└" for name in re.findall(r"\b(\w+)/", line)}
    assert packages <= named
    assert len(TREE.splitlines()) <= 45


def test_each_folder_and_module_is_there() -> None:
    modules = re.findall(r"\w[\w/]*\.py\b", PAGE.replace("<broker>", "memory"))
    assert [name for name in modules if not any(SOURCE.rglob(name))] == []
    folders = re.findall(r"\b(\w+)/", TREE.partition("\n")[2])
    assert [name for name in folders if not any(path.is_dir() for path in SOURCE.rglob(name))] == []


def test_the_layers_are_those_of_the_check() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    assert LAYERS.splitlines() == contracts[0]["layers"]


def test_the_glossary_is_short_and_has_each_word_once() -> None:
    words = re.findall(r"^\| \*\*([^*]+)\*\* \|", PAGE, re.MULTILINE)
    assert len(words) == len(set(words)) <= 40
