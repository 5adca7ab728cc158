"""Rules that CONTRIBUTING names, and what runs elsewhere (hosted CI, hooks): it runs the checks of the Makefile."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasuki import App, Context
from tasuki.consumers.consumer import Consumer

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


SOURCES = {str(path.relative_to(ROOT / "src/tasuki")): path for path in sorted((ROOT / "src/tasuki").rglob("*.py"))}
Function = ast.FunctionDef | ast.AsyncFunctionDef

MOST_FILES, MOST_LINES = 12, 40
LARGE_FOLDERS: dict[str, int] = {}
"""Folders with more files than the rule allows. The numbers may only fall; a folder that keeps the rule leaves."""
LONG_FUNCTIONS = {
    "app/assembly.py __init__": 46,
    "cli/commands/queues/publish.py publish_command": 45,
    "cli/commands/work/run.py run_command": 45,
    "cli/commands/work/run.py run_here": 42,
    "consumers/handling/executor.py execute": 46,
    "drivers/redis/batches.py publishing": 42,
}
"""The same for functions."""
OPEN_OPTIONS = {
    "app/runtime.py Runtime.use_store": "its caller is StoreHandle, whose verbs name their options",
    "app/tasks/task.py Sender.filled": "its options are the task's arguments but the first, which no type can say",
}


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def lines_of(function: Function) -> int:
    """All its lines without its docstring."""
    first, end = function.body[0], function.end_lineno
    doc = first if ast.get_docstring(function, clean=False) is not None else None
    assert end is not None
    return end - function.lineno + 1 - (0 if doc is None else (doc.end_lineno or 0) - doc.lineno + 1)


def test_a_folder_has_twelve_files_at_most() -> None:
    files = Counter(str(Path(name).parent) for name in SOURCES if not name.endswith("__init__.py"))
    assert {name: count for name, count in files.items() if count > LARGE_FOLDERS.get(name, MOST_FILES)} == {}
    assert [name for name in LARGE_FOLDERS if files[name] <= MOST_FILES] == [], "these keep the rule: take them out"


def test_a_function_has_forty_lines_at_most() -> None:
    found = {
        f"{name} {function.name}": lines_of(function)
        for name, path in SOURCES.items()
        for function in functions(ast.parse(path.read_text()))
        if lines_of(function) > MOST_LINES
    }
    assert {name: lines for name, lines in found.items() if lines > LONG_FUNCTIONS.get(name, MOST_LINES)} == {}
    assert sorted(LONG_FUNCTIONS.keys() - found.keys()) == [], "these keep the rule: take them out"


def test_a_public_method_names_its_options() -> None:
    found = [
        f"{name} {owner.name}.{function.name}"
        for name, path in SOURCES.items()
        if name.startswith("app/")
        for owner in ast.walk(ast.parse(path.read_text()))
        if isinstance(owner, ast.ClassDef)
        for function in owner.body
        if isinstance(function, Function) and not function.name.startswith("_")
        if function.args.kwarg is not None and ast.unparse(function.args.kwarg.annotation or function) == "Any"
    ]
    assert sorted(found) == sorted(OPEN_OPTIONS)


@pytest.mark.parametrize(("facade", "most"), [(App("memory://"), 40), (Context, 28), (Consumer, 16)])
def test_a_facade_is_small(facade: object, most: int) -> None:
    assert len([name for name in dir(facade) if not name.startswith("_")]) <= most


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


WORKFLOWS = [read(".github/workflows/ci.yml"), read(".github/workflows/nightly.yml")]
STEPS = [step for workflow in WORKFLOWS for job in workflow["jobs"].values() for step in job["steps"]]


def test_hosted_ci_keeps_no_token_in_the_folder_of_the_tests() -> None:
    assert all(workflow["permissions"] == {"contents": "read"} for workflow in WORKFLOWS)
    checkouts = [step for step in STEPS if "actions/checkout@" in step.get("uses", "")]
    assert len(checkouts) == 3
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_hosted_ci_gives_the_code_of_a_pull_request_no_privileged_container() -> None:
    containers = [job["container"] for workflow in WORKFLOWS for job in workflow["jobs"].values() if "container" in job]

    assert "pull_request" not in read(".github/workflows/nightly.yml")[True]  # YAML reads "on" as a truth
    assert containers[0]["options"] == "${{ github.event_name == 'pull_request' && '--init' || '--privileged --init' }}"


def test_hosted_ci_runs_targets_that_exist() -> None:
    commands = [step["run"] for step in STEPS if "run" in step]
    targets = {target for command in commands for target in re.findall(r"^make ([a-z-]+)", command)}

    assert "bash .ci/run" in commands
    assert targets == {"check", "nightly"}
    assert targets <= TARGETS


def test_hosted_ci_names_each_action_by_its_commit() -> None:
    actions = [step["uses"] for step in STEPS if "uses" in step]

    assert actions
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in actions)


def test_hooks_are_checks_of_make_lint() -> None:
    lint = MAKEFILE[MAKEFILE.index("\nlint:") : MAKEFILE.index("\nformat:")].replace("$(VENV)", ".venv")
    lint = lint.replace("$(RUFF_FORMAT)", ".venv/bin/ruff format")

    [repository] = read(".pre-commit-config.yaml")["repos"]

    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["entry"] in lint, hook["id"]


def test_the_spelling_of_hooks_leaves_out_what_make_lint_leaves_out() -> None:
    skipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["codespell"]["skip"].split(",")
    [exclude] = [
        hook["exclude"] for hook in read(".pre-commit-config.yaml")["repos"][0]["hooks"] if hook["id"] == "spelling"
    ]

    for path in skipped:
        assert re.search(exclude, path.replace("*", "x")), path
