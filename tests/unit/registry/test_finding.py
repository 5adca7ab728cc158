"""Which project is meant: named, in the environment, in pyproject.toml, or the only one of a folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tasuki.errors import ConfigError
from tasuki.registry.finding import Found, apps_in, find_project, home_of, module_of
from tests.e2e.projects import write

APP = "from tasuki import App\napp = App('memory://')\n"
YAML = "version: '1.0'\nnamespace: app\nentries: []\n"


def find(here: Path, given: str | None = None, **environ: str) -> Found:
    return find_project(given, environ=environ, here=here)


def refused(here: Path, given: str | None = None, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        find(here, given, **environ)
    return str(caught.value)


def test_the_order(tmp_path: Path) -> None:
    write(tmp_path, {"given.py": APP, "set.py": APP, "conf/configured.py": APP, "here/only.py": APP})
    here = tmp_path / "here"
    assert find(here).target == "only:app"
    (tmp_path / "pyproject.toml").write_text('[tool.tasuki]\napp = "conf.configured:app"\n')
    found = find(here)
    assert (found.target, found.folder, found.source) == (
        "conf.configured:app",
        tmp_path,
        str(tmp_path / "pyproject.toml"),
    )
    assert find(here, TASUKI_PROJECT="../set.py").target == "set:app"
    assert find(here, "../given.py", TASUKI_PROJECT="../set.py").target == "given:app"


@pytest.mark.parametrize(
    ("files", "given", "target"),
    [
        ({"jobs.py": APP}, None, "jobs:app"),
        ({"jobs.py": APP}, "jobs.py", "jobs:app"),
        ({"jobs.py": APP}, "jobs.py:app", "jobs:app"),
        ({"jobs.py": APP}, "jobs:other", "jobs:other"),
        ({"shop/__init__.py": "", "shop/jobs.py": APP}, "shop/jobs.py", "shop.jobs:app"),
        ({"shop/__init__.py": "", "shop/jobs.py": APP}, "shop.jobs:app", "shop.jobs:app"),
        ({"shop/jobs.py": APP}, "shop", "jobs:app"),
        ({"shop/__init__.py": "", "shop/jobs.py": APP}, "shop", "shop.jobs:app"),
        ({"shop/pyproject.toml": '[tool.tasuki]\napp = "b:app"\n', "shop/a.py": APP}, "shop", "b:app"),
        ({"jobs.py": APP, "test_jobs.py": APP, "conftest.py": APP, "jobs_test.py": APP}, None, "jobs:app"),
        ({"jobs.py": APP, "broken.py": "from tasuki import App\napp = App(", "sub/more.yaml": YAML}, None, "jobs:app"),
    ],
)
def test_apps_in_python(tmp_path: Path, files: dict[str, str], given: str | None, target: str) -> None:
    found = find(write(tmp_path, files), given)
    assert (found.target, found.is_code) == (target, True)


@pytest.mark.parametrize("name", ["_index.yaml", "deep/er/queues.yml", "entries.yaml"])
def test_yaml_projects(tmp_path: Path, name: str) -> None:
    text = "entries: [{name: a, kind: queue.queue}]\n" if name == "entries.yaml" else YAML
    write(tmp_path, {name: text, "manifest.yaml": "kind: Pod\n", "deep/sub.py": APP})
    for given in (None, "."):
        found = find(tmp_path, given)
        assert (Path(found.target), found.is_code) == (tmp_path, False)
    assert Path(find(tmp_path, name).target) == tmp_path / name


def test_a_folder_with_a_lock_file_is_a_project(tmp_path: Path) -> None:
    write(tmp_path, {"wippy.lock": "", "script.py": "print(1)\n"})
    assert Path(find(tmp_path).target) == tmp_path


def test_a_folder_without_a_project_lists_what_was_looked_for(tmp_path: Path) -> None:
    write(tmp_path, {"sub/jobs.py": APP, "pack/__init__.py": "", "pack/work.py": APP, "x.py": "x = 1\n"})
    text = refused(tmp_path)
    for part in (
        "-p TARGET or the argument: not given",
        "TASUKI_PROJECT: not set",
        f"[tool.tasuki] in a pyproject.toml: none in {tmp_path} or above",
        f"YAML files with a namespace: none in {tmp_path}",
        f"Python files that assign an App(): none in {tmp_path}",
    ):
        assert f"\n  {part}" in text
    assert text.endswith(f"did you mean -p pack.work:app or -p {tmp_path}/sub/jobs.py:app?")
    write(tmp_path, {"empty/notes.txt": ""})
    assert refused(tmp_path / "empty").endswith("name the project with -p, or make one: tasuki init DIR")
    assert "TASUKI_PROJECT" not in refused(tmp_path, "empty")  # a named folder was meant


def test_a_file_that_cannot_be_read_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere.yaml")
    assert "there is no project here" in refused(tmp_path)


def test_several_projects_are_listed(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": APP + "b = App()\n", "_index.yaml": YAML})
    assert refused(tmp_path) == (
        f"{tmp_path} holds several projects: {tmp_path} (YAML), a:app, a:b; "
        "say which, with -p, TASUKI_PROJECT, or app of [tool.tasuki] in pyproject.toml"
    )
    assert refused(tmp_path, "a.py").endswith("a.py: the file makes several Apps; say which: a:app or a:b")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("jobs", "jobs: there is no such file or folder; did you mean jobs:queues?"),
        ("shop.jobs", "did you mean shop.jobs:app?"),
        ("nowhere", "nowhere: there is no such file or folder; name a folder, a YAML file"),
        ("none.py", "none.py: the file makes no App at its top level; write app = App(), or name it: none:NAME"),
    ],
)
def test_names_that_are_nearly_right(tmp_path: Path, given: str, said: str) -> None:
    queues = APP.replace("app = ", "queues = ")
    write(tmp_path, {"jobs.py": queues, "shop/jobs.py": "def make(): ...\n", "none.py": "x = 1\n"})
    assert said in refused(tmp_path, given)


def test_an_error_says_what_named_the_project(tmp_path: Path) -> None:
    assert "TASUKI_PROJECT names 'gone', and there is no such file" in refused(tmp_path, TASUKI_PROJECT="gone")
    path = tmp_path / "pyproject.toml"
    path.write_text('[tool.tasuki]\napp = "gone"\n')
    assert f"{path} names 'gone', and there is no such file or folder" in refused(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[project]\n[tool.tasuki]\nap = "x"', "toml:2: [tool.tasuki] has no key 'ap'; did you mean 'app'?"),
        ("[tool.tasuki]\napp = 1", "toml:1: app of [tool.tasuki] names no project"),
        ("[tool]\ntasuki = 1", "tool.tasuki is a table"),
        ("[tool", "toml: the file cannot be read"),
        ("tool = 1", "toml: the file cannot be read"),
    ],
)
def test_tables_that_are_not_good(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert said in refused(tmp_path)


def test_the_nearest_table_counts(tmp_path: Path) -> None:
    outer, inner = '[tool.tasuki]\napp = "outer:app"\n', '[tool.tasuki]\napp = "."\n'
    write(tmp_path, {"pyproject.toml": outer, "a/b/pyproject.toml": "[project]\n", "a/b/c/pyproject.toml": inner})
    assert find(tmp_path / "a" / "b").target == "outer:app"
    write(tmp_path, {"a/b/c/jobs.py": APP})
    assert find(tmp_path / "a" / "b" / "c").target == "jobs:app"


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import tasuki\napp: tasuki.App = tasuki.App()\n", ["app"]),
        ("import tasuki as t\na = b = t.App()\n", ["a", "b"]),
        ("from tasuki.app import App as Application\napp = Application(\n  'memory://')\n", ["app"]),
        ("from tasuki import App\napp = App.load('folder')\n", []),
        ("from tasuki import App\ndef make():\n    app = App()\n", []),
        ("from flask import App\n# not tasuki\napp = App()\n", []),
        ("from tasuki import App\napp: App\n", []),
    ],
)
def test_apps_are_found_without_running_the_file(tmp_path: Path, source: str, names: list[str]) -> None:
    path = tmp_path / "module.py"
    path.write_text(source)
    assert apps_in(path) == names


def test_a_file_that_is_not_python_is_named_where_no_other_has_an_app(tmp_path: Path) -> None:
    write(tmp_path, {"jobs.py": "from tasuki import App\napp = App(\n", "sub/more.py": "import tasuki\ndef"})
    for given in (None, "jobs.py", "jobs"):
        with pytest.raises(ConfigError, match=r"jobs\.py:2:10: this is not Python: '\(' was never closed"):
            find(tmp_path, given)
    write(tmp_path, {"_index.yaml": YAML})
    assert Path(find(tmp_path).target) == tmp_path


@pytest.mark.parametrize(
    ("given", "hint"),
    [("jobs.app", "did you mean jobs:app?"), ("job", "did you mean 'jobs.py'?"), ("elsewhere.main", "name a folder, ")],
)
def test_a_target_that_is_not_there_is_near_to_one(tmp_path: Path, given: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(hint)):
        find(write(tmp_path, {"jobs.py": APP}), given)


def test_the_module_of_a_file(tmp_path: Path) -> None:
    write(tmp_path, {"a/__init__.py": "", "a/b/__init__.py": "", "a/b/c.py": ""})
    assert module_of(tmp_path / "a/b/c.py") == ("a.b.c", tmp_path)
    assert module_of(tmp_path / "a/b/__init__.py") == ("a.b", tmp_path)


def test_the_home_of_a_source_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"project/pyproject.toml": "", "project/src/shop/jobs.py": "", "alone/jobs.py": ""})
    monkeypatch.chdir(tmp_path / "alone")
    assert home_of(str(tmp_path / "project/src/shop/jobs.py")) == tmp_path / "project"
    assert home_of(str(tmp_path / "alone/jobs.py")) == tmp_path / "alone"
    assert home_of("jobs.py") == tmp_path / "alone"
    assert home_of("<stdin>") == Path.cwd()


def test_a_file_that_cannot_be_read_has_no_app(tmp_path: Path) -> None:
    assert apps_in(tmp_path / "missing.py") == apps_in(tmp_path) == []
