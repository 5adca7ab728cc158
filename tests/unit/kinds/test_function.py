from pathlib import Path

import pytest

from tasuki.errors import ProjectError
from tasuki.kinds.check.project import check
from tasuki.kinds.entries.function import LuaFunctionConfig, LuaLibraryConfig, PythonFunctionConfig, PythonLimits
from tasuki.registry.entry import Entry, Registry
from tasuki.registry.loader import Loaded, Source
from tests.support.narrow import present
from tests.unit.kinds.conftest import Make, Problems


def test_a_lua_function_and_its_library(project: Make) -> None:
    text = """\
  - name: f
    kind: function.lua
    source: |
      return 1
    method: main
    modules: [json, string]
    imports: {words: lib, other: f2}
    limits: {memory: 1MiB, time: 5s, instructions: 1000}
    isolation: shared
  - {name: f2, kind: function.lua, source: return 2}
  - {name: lib, kind: library.lua, source: 'return {}', modules: [json], imports: {}}
"""
    configs = project(text).configs
    function, plain, library = configs["app:f"], configs["app:f2"], configs["app:lib"]
    assert isinstance(function, LuaFunctionConfig)
    assert isinstance(plain, LuaFunctionConfig)
    assert function.source == Source("return 1\n")
    assert (function.method, function.modules) == ("main", ["json", "string"])
    assert function.imports == {"words": "app:lib", "other": "app:f2"}
    assert (function.limits.memory, function.limits.time, function.limits.instructions) == (2**20, 5.0, 1000)
    assert (plain.limits.memory, plain.limits.time, plain.limits.instructions) == (64 * 2**20, 1.0, None)
    assert plain.method is None
    assert type(library) is LuaLibraryConfig


def test_modules_of_later_versions_are_refused_and_the_known_ones_named(problems: Problems) -> None:
    [text] = problems("  - {name: f, kind: function.lua, source: x, modules: [sql]}\n")
    assert text.startswith("3:56: app:f: modules.0: there is no module 'sql' in this version; known are: base64, ")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("method: x", "the field 'source' is missing"),
        ("source: 5", "source must be text, not the number 5"),
        ("source: x, modules: json", "modules must be a list, not the text 'json'"),
        ("source: x, modules: [1]", "modules.0 must be text, not the number 1"),
        ("source: x, modules: [jsn]", "modules.0: there is no module 'jsn' in this version; did you mean 'json'?"),
        ("source: x, imports: {a: [x]}", "imports.a must be text, not a list"),
        ("source: x, limits: {memory: 0}", "limits.memory must be more than 0, not the number 0"),
        ("source: x, limits: {tme: 1s}", "unknown field 'limits.tme'; did you mean 'time'?"),
        ("source: x, isolation: none", "isolation must be 'shared' or 'process', not the text 'none'"),
        ("source: x, pool: {workers: 0}", "pool.workers must be at least 1, not the number 0"),
        ("source: x, pool: {workers: 257}", "pool.workers must be at most 256, not the number 257"),
        ("source: x, pool: {}", "the field 'pool.workers' is missing"),
    ],
)
def test_bad_lua_functions(problems: Problems, fields: str, problem: str) -> None:
    [text] = problems(f"  - {{name: f, kind: function.lua, {fields}}}\n")
    assert text.partition("app:f: ")[2].startswith(problem)


def test_python_functions(project: Make) -> None:
    project("")
    Path("tasks.py").write_text("def handle(body): ...\n")
    text = """\
  - {name: target, kind: function.python, target: package.module:function, pool: null}
  - {name: method, kind: function.python, source: file://tasks.py, method: handle}
"""
    configs = project(text).of(PythonFunctionConfig)
    assert configs["app:target"] == PythonFunctionConfig(target="package.module:function")
    assert configs["app:method"].source == Source("def handle(body): ...\n", Path("tasks.py").resolve())
    assert configs["app:method"].method == "handle"


ONE = "a Python function has either a source with a method, or a target: package.module:function"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("meta: {}", ONE),
        ("source: file://p.yaml, method: x, target: a:b", ONE),
        ("source: file://p.yaml", "the source needs a method: the name of the function in it"),
        ("source: 'x = 1', method: x", "the source of a Python function is a file; write it like file://tasks.py"),
        ("target: a:b, method: x", "a method needs a source; a target names its function itself"),
        ("target: a.b", "target: 'a.b' is not something to import; write it like package.module:function"),
        ("target: 'a:b c'", "target: 'a:b c' is not something to import; write it like package.module:function"),
        ("target: a:b, isolation: none", "isolation must be 'shared' or 'process', not the text 'none'"),
        ("target: a:b, limits: {memory: 1MiB}", "limits of Python code need isolation: process"),
        ("target: a:b, pool: {workers: 2}", "a pool of Python code needs isolation: process"),
        ("target: a:b, isolation: process, limits: {time: 0}", "limits.time must be more than 0, not the number 0"),
    ],
)
def test_bad_python_functions(problems: Problems, fields: str, problem: str | tuple[str, ...]) -> None:
    [text] = problems(f"  - {{name: f, kind: function.python, {fields}}}\n")
    assert text.partition("app:f: ")[2] == problem


def test_isolated_functions(project: Make) -> None:
    text = """\
  - {name: lua, kind: function.lua, source: x, isolation: process, pool: {workers: 3}}
  - {name: python, kind: function.python, target: a:b, isolation: process, limits: {memory: 1MiB, time: 2s}}
"""
    checked = project(text)
    assert present(checked.of(LuaFunctionConfig)["app:lua"].pool).workers == 3
    assert checked.of(PythonFunctionConfig)["app:python"].limits == PythonLimits(memory=2**20, time=2.0)


def test_a_function_declared_in_code_cannot_be_isolated(tmp_path: Path) -> None:
    entry = Entry("app:f", "function.python", {"isolation": "process"}, target=len)
    with pytest.raises(ProjectError, match="process needs a function that another process can import"):
        check(Loaded(Registry({entry.id: entry}, tmp_path)))


def test_a_function_declared_in_code_needs_neither_source_nor_target(tmp_path: Path) -> None:
    entry = Entry("app:f", "function.python", {}, target=len)
    project = check(Loaded(Registry({entry.id: entry}, tmp_path)))
    assert project.configs["app:f"] == PythonFunctionConfig.model_validate({}, context={"target": len})
    assert project.registry.entries["app:f"].target is len
