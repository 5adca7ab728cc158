"""The patch of ``make paperless``: short, and free of the application's own code beside the lines that it changes."""

from __future__ import annotations

import re

from tests.paperless.port import PATCH, changed_lines

MOST = 40


def test_the_port_of_paperless_is_short() -> None:
    changed = changed_lines(PATCH.read_text())
    assert sum(changed.of_application.values()) == 30
    assert sum(changed.of_tests.values()) == 4
    assert MOST >= 30 + 4


def test_it_uses_nothing_but_our_module_for_django() -> None:
    added = [line[1:] for line in PATCH.read_text().splitlines() if re.match(r"\+(?!\+\+ )", line)]
    imports = [line for line in added if "import" in line]
    assert imports
    assert all(line.startswith("from tasuki.contrib.django.celery import ") for line in imports)
    assert not [line for line in PATCH.read_text().splitlines() if line.startswith(" ")]


def test_a_hunk_counts_the_larger_side() -> None:
    patch = "--- a/x.py\n+++ b/x.py\n@@ -1,4 +1,2 @@\n@@ -9 +8,0 @@\n@@ -12,0 +12,3 @@\n--- a/tests/y.py\n@@ -1 +1 @@\n"
    assert changed_lines(patch).of_application == {"x.py": 8, "tests/y.py": 1}
    assert changed_lines(patch.replace("a/tests", "a/src/tests")).of_tests == {"src/tests/y.py": 1}
