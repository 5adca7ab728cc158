"""docs/reference.md says what the models say, docs/lua-modules.md what the sources say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from tasuki.handlers.lua.modules import MODULES

ROOT = Path(__file__).parents[2]


def test_the_reference_is_that_of_the_models() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "reference.py"))
    assert "***" not in script["page"]()
    assert re.findall(r"^\| `\w*_` \|", script["page"](), re.MULTILINE) == []  # Python's name of a field, not YAML's
    assert (ROOT / "docs" / "reference.md").read_text() == script["page"](), "run scripts/reference.py"


def test_the_page_of_lua_modules_is_that_of_their_sources() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "reference.py"))
    assert (ROOT / "docs" / "lua-modules.md").read_text("utf-8") == script["lua_page"](), "run scripts/reference.py"
    assert set(re.findall(r"^## `(\w+)`", script["lua_page"](), re.MULTILINE)) >= MODULES.keys()
