"""The README says what the code says, and is short."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tasuki.kinds.kind import driver_names
from tests.support.pages.blocks import blocks_of

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
JAPANESE = (ROOT / "README.ja.md").read_text("utf-8")
FIRST_SCREEN = README.partition("## Install")[0].rstrip()


def test_the_first_screen_is_one_screen() -> None:
    lines = FIRST_SCREEN.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    (python,) = [block for block in blocks_of(ROOT / "README.md") if block.language == "python"]
    assert len([line for line in python.text.splitlines() if line and not line.startswith("#")]) == 10


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 160


def test_it_names_the_commands_of_a_clone() -> None:
    assert re.findall(r"^\$ make (\w+)", README, re.MULTILINE) == ["demo", "test"]


def test_every_driver_is_in_the_table() -> None:
    table = README.partition("## Drivers")[2]
    assert set(re.findall(r"^\| \[(\w+)\]\(docs/", table, re.MULTILINE)) == set(driver_names())
    assert f"{_NUMBERS[len(driver_names())]} drivers" in README


def test_what_it_has_is_on_the_pages_that_it_links() -> None:
    rows = README.partition("## What it has")[2].partition("## ")[0].splitlines()[4:]
    for row in filter(None, rows):
        pages = "".join((ROOT / link).read_text("utf-8") for link in re.findall(r"\]\((docs/[^)]+)\)", row))
        used = {name for code in re.findall(r"`([^`]+)`", row) for name in re.findall(r"\b[a-z_]{3,}(?=[=(])", code)}
        assert pages
        assert {name for name in used if name not in pages} == set(), row


_NUMBERS = {6: "Six", 7: "Seven", 8: "Eight"}


def test_the_number_of_cases_is_about_right() -> None:
    record = json.loads((ROOT / "docs" / "conformance.json").read_text())
    cases = [
        len(results["passed"]) + len(results["not_applicable"])
        for driver, results in record.items()
        if driver in driver_names()
    ]
    (told,) = re.findall(r"About (\d+) conformance cases", README)
    assert all(abs(number - int(told)) < 20 for number in cases)


def test_its_figures_are_those_of_the_page_on_performance() -> None:
    page = (ROOT / "docs" / "performance.md").read_text("utf-8")
    sqlite = [cell.strip() for cell in re.findall(r"^\| sqlite \|(.*)\|$", page, re.MULTILINE)[0].split("|")]
    figures = re.search(r"stores (\S+) messages a second one by one in SQLite,\n.* and (\S+) in batches", README)
    assert figures is not None
    assert list(figures.groups()) == sqlite[:2]


@pytest.mark.parametrize("name", ["_index.yaml", "resize.lua"])
def test_the_example_in_yaml_and_lua_is_there_as_files(name: str) -> None:
    (shown,) = [block.content for block in blocks_of(ROOT / "README.md") if block.file == name]
    assert shown == (ROOT / "examples" / "images" / name).read_text("utf-8")


def test_the_links_of_the_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("README*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")]
    pattern = r"\]\(([^)#:]+)(?:#[^)]*)?\)|^\[[^]]+\]: ([^#:\s]+)$"
    links = [
        (page, found[1] or found[2])
        for page in pages
        for found in re.finditer(pattern, page.read_text("utf-8"), re.MULTILINE)
    ]
    assert links
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []


def test_each_link_by_name_has_its_target() -> None:
    for text in (README, JAPANESE):
        named = set(re.findall(r"\[([^]\n]+)\](?![(:\]])", re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)))
        assert named == set(re.findall(r"^\[([^]]+)\]: ", text, re.MULTILINE))
