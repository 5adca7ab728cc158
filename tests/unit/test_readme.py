"""The README says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from tasuki.kinds.kind import driver_names

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_every_driver_is_in_the_table() -> None:
    assert set(re.findall(r"^\| \[(\w+)\]\(docs/", README, re.MULTILINE)) == set(driver_names())


def test_what_the_pages_link_to_is_there() -> None:
    pages = [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())]
    assert links
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []
