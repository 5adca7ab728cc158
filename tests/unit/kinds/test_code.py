"""Findings of ``tasuki check`` in the code behind functions, which it reads and does not run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasuki.kinds.check.code import problems_of_code
from tasuki.kinds.check.project import Project

Make = Callable[..., Project]


def told(project: Project) -> list[str]:
    return [str(problem) for problem in problems_of_code(project)]


def lua(project: Make, text: str, kind: str = "function.lua") -> list[str]:
    Path("h.lua").write_text(text)
    return told(project(f"  - {{name: h, kind: {kind}, source: file://h.lua}}\n"))


def python(project: Make, text: str, method: str = "main") -> list[str]:
    Path("h.py").write_text(text)
    return told(project(f"  - {{name: h, kind: function.python, source: file://h.py, method: {method}}}\n"))


@pytest.mark.parametrize("kind", ["function.lua", "library.lua"])
def test_lua_that_cannot_be_read(project: Make, kind: str) -> None:
    assert lua(project, "local a = 1\nlocal b = = 2\n", kind) == ["h.lua:2: app:h: unexpected symbol near '='"]
    assert lua(project, "local a = \xff", kind) != []
    assert lua(project, 'local a = "\\é"', kind) == ["h.lua:1: app:h: invalid escape sequence near '\"\\\ufffd'"]
    assert lua(project, "x = " + "(" * 100_000, kind) != []
    assert lua(project, "\x1bLua", kind) != []


def test_lua_that_can_be_read_is_not_run(project: Make) -> None:
    assert lua(project, "while true do error('it runs') end") == []
    assert (
        lua(project, "local x: number? = 1\ntype T = {a: string}\nreturn { main = function(m: T): boolean end }") == []
    )
    assert lua(project, "") == []


def test_a_script_in_the_entry_itself(project: Make) -> None:
    text = "  - name: h\n    kind: function.lua\n    source: |\n      return {\n      a b\n"
    assert told(project(text)) == [
        "p.yaml:5:5: app:h: line 2 of the script: '}' expected (to close '{' at line 1) near 'b'"
    ]


def test_the_name_of_a_file_for_a_script(project: Make) -> None:
    (problem,) = told(project("  - {name: h, kind: function.lua, source: lib/task.lua}\n"))
    assert problem.startswith("p.yaml:3:35: app:h: line 1 of the script: ")
    assert problem.endswith("; for a file write file://lib/task.lua")


def test_python_that_cannot_be_read(project: Make) -> None:
    assert python(project, "def main(body):\n    return (\n") == ["h.py:2:12: app:h: '(' was never closed"]
    assert python(project, "def main(body):\nreturn 1\n")[0].startswith("h.py:2:1: app:h: expected an indented block")
    assert python(project, "def main(body): pass\n\0")[0].startswith("h.py")


def test_a_target_whose_module_is_not_there(project: Make) -> None:
    Path("h.py").write_text("raise RuntimeError('it runs')")
    text = "  - {{name: h, kind: function.python, target: '{}:main'}}\n"
    hint = "install it, or start tasuki in the folder that has it"
    assert told(project(text.format("nowhere.at.all"))) == [
        f"p.yaml:3:38: app:h: target: there is no module 'nowhere'; {hint}"
    ]
    assert told(project(text.format("tests.unit"))) == []
    assert told(project(text.format("__main__"))) == []


def test_python_without_the_function(project: Make) -> None:
    text = "import os\nfrom a import b as other\n\ndef handle(body): pass\n"
    assert python(project, text, "handel") == [
        "p.yaml:3:59: app:h: h.py has no 'handel'; did you mean 'handle'?",
    ]
    assert python(project, "", "main") == ["p.yaml:3:59: app:h: h.py has no 'main'"]
    assert python(project, "class A:\n    def main(body): pass\n") == ["p.yaml:3:59: app:h: h.py has no 'main'"]


@pytest.mark.parametrize(
    "text",
    [
        "def main(body): raise SystemExit",
        "async def main(body): pass",
        "class main: pass",
        "main = print",
        "main: object = print",
        "a, (b, *main) = 1, (2, 3)",
        "import main",
        "import main.other",
        "from a import x as main",
        "from a import *",
        "if True:\n    def main(body): pass",
        "try:\n    from a import main\nexcept ImportError:\n    main = None",
        "for main in []: pass",
        "with open('x') as main: pass",
        "(main := 1)",
        "match 1:\n    case main: pass",
        "globals()['main'] = print",
        "exec('def main(body): pass')",
        "def __getattr__(name): pass",
        "import sys\nsetattr(sys.modules[__name__], 'main', print)",
        "def named(f):\n    globals()['main'] = f\n@named\ndef other(body): pass",
        "def make():\n    global main\n    def main(body): pass\nmake()",
        "locals()['main'] = print",
        "import sys\nsys.modules[__name__].main = print",
        "try:\n    from a import *\nexcept ImportError:\n    pass",
        "x = '\\d'\ndef main(body): pass",
        "x = " + "+".join("1" * 5000) + "\ndef main(body): pass",
        "x = " + "+".join("1" * 5000),
    ],
)
def test_python_that_may_have_the_function(project: Make, text: str) -> None:
    assert python(project, text) == []


REQUIRING = """\
-- require("uuid") in a comment
local text = "require('env')"
local json = require("json")
local time, mine = require "time", require("mine")
"""


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ("", ["h.lua:3: app:h: the script requires 'json'", "h.lua:4: app:h: the script requires 'time'"]),
        (", modules: [json]", ["h.lua:4: app:h: the script requires 'time'"]),
        (", modules: [json, time]", []),
    ],
)
def test_modules_that_a_script_requires_are_listed(project: Make, fields: str, missing: list[str]) -> None:
    Path("h.lua").write_text(REQUIRING)
    found = told(project(f"  - {{name: h, kind: function.lua, source: file://h.lua{fields}}}\n"))
    assert [each.partition(", which")[0] for each in found] == missing
    if fields == ", modules: [json]":
        assert found[0].endswith("; write modules: [json, time]")
