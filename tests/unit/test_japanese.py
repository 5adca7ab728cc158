"""The Japanese pages are in step with the English ones, section by section."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.pages.blocks import Block, blocks_of

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.ja.md", *sorted((ROOT / "docs" / "ja").rglob("*.md"))]
OWN = {ROOT / "docs/ja/glossary.md"}
"""Pages that have no English counterpart."""


def english(page: Path) -> Path:
    """The page of which another one is the Japanese text."""
    if page == ROOT / "README.ja.md":
        return ROOT / "README.md"
    return ROOT / "docs" / page.relative_to(ROOT / "docs" / "ja")


TRANSLATED = [page for page in PAGES if page not in OWN]
COUNTERPARTS = {english(page): page for page in TRANSLATED}


class Section(NamedTuple):
    """A part of a page: its heading, its text with the heading, and the hash of the English text of which it is one."""

    heading: str
    text: str
    of: str | None


def sections(page: Path) -> list[Section]:
    """The parts of a page that begin with a heading of the first two levels; a line in a block is none."""
    parts: list[list[str]] = []
    is_block = False
    for line in page.read_text("utf-8").splitlines():
        is_block ^= line.startswith("```")
        if not is_block and re.match(r"##? ", line):
            parts.append([])
        parts[-1].append(line)
    texts = ["\n".join(part).strip() for part in parts]
    return [Section(text.partition("\n")[0], text, _hash_in(text)) for text in texts]


def _hash_in(text: str) -> str | None:
    found = re.search(r"^<!-- en: (\w{6}) -->$", text, re.MULTILINE)
    return found[1] if found else None


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.stem)
def test_each_section_was_read_again_after_the_last_change_of_its_english_text(page: Path) -> None:
    """Bring the section into step, then write the hash that the message names below its heading."""
    ours, theirs = sections(page), sections(english(page))
    assert len(ours) == len(theirs)
    lagging = {}
    for mine, other in zip(ours, theirs, strict=True):
        hashed = hashlib.sha256(other.text.encode()).hexdigest()[:6]
        if mine.of != hashed:
            lagging[mine.heading] = f"<!-- en: {hashed} -->"
    assert lagging == {}


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.stem)
def test_the_code_is_the_same_but_for_its_comments(page: Path) -> None:
    ours, theirs = blocks_of(page), blocks_of(english(page))
    assert [_code(block) for block in ours] == [_code(block) for block in theirs]


def _code(block: Block) -> tuple[str, str | None, dict[str, str]]:
    """None for a drawing; without comments and docstrings, which are in the reader's language."""
    if block.language == "text" and not block.options:
        return block.language, None, {}
    without = re.sub(r"(?m)(?<=\S)\s+(?:#|--) .*$|^\s*(?:#|--) (?![\w./-]+\.\w+$).*\n", "", block.text)
    return block.language, re.sub(r'(?m)^\s*"""[^"]*"""\n', "", without), dict(block.options)


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.stem)
def test_it_links_the_same_pages(page: Path) -> None:
    """A link leads to the Japanese page where there is one; pictures and the links between the languages differ."""
    between = {page, english(page), *OWN}
    assert _links(page) - between == {COUNTERPARTS.get(link, link) for link in _links(english(page))} - between


def _links(page: Path) -> set[Path]:
    """The pages to which a page links."""
    text = page.read_text("utf-8")
    found = re.findall(r"(?<!!)\[[^]]*\]\(([^)#:\s]+)(?:#[^)]*)?\)|^\[[^]]+\]: ([^#:\s]+)$", text, re.MULTILINE)
    return {Path(os.path.normpath(page.parent / (inline or named))) for inline, named in found}


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.stem)
def test_it_has_the_same_numbers(page: Path) -> None:
    for mine, other in zip(sections(page), sections(english(page)), strict=True):
        assert _numbers(mine.text) == _numbers(other.text), mine.heading


def _numbers(text: str) -> list[str]:
    """The numbers of three digits and more in the prose: smaller ones are words in one of the languages."""
    code = r"```.*?```|`[^`\n]*`|\]\([^)]*\)|<!--.*?-->|^\[[^]]+\]: [^\n]*$"
    prose = re.sub(code, "", text, flags=re.DOTALL | re.MULTILINE)
    return sorted(re.findall(r"\d[\d,.]*\d\d", prose))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_paragraph_is_a_line(page: Path) -> None:
    """A line break inside a Japanese paragraph becomes a blank."""
    text = re.sub(r"```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"^.*[、。ぁ-んァ-ヶ一-龥]\n(?=[、。ぁ-んァ-ヶ一-龥`\[A-Za-z]).*", text, re.MULTILINE) == []
