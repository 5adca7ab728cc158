"""Rules that CONTRIBUTING names, and what runs elsewhere (hosted CI, hooks): it runs the checks of the Makefile."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
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

MOST_FILES, MOST_LINES, LONGEST_FILE, MOST_MEMBERS = 12, 40, 500, 10
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
LONG_FILES = {"app/app.py": 637}
"""The same for files."""
ENTRY_POINTS = {
    "app/app.py App": "the one object of an application",
    "app/handle.py QueueHandle": "what an application does with one queue",
    "app/sync/running.py SyncApp": "App for callers that block",
    "contracts/driver.py Driver": "the verbs that every broker must have, and groups of them that it may claim",
    "contracts/handler.py Context": "the one object of a handler",
    "contracts/state/store.py Store": "the contract of a store, in groups of verbs",
    "contracts/state/store_handle.py StoreHandle": "what an application does with one store",
    "contrib/django/celery/task.py Task": "it has the names of Celery's Task",
    "queues/queue.py Queue": "what the parts of a process do with one queue",
    "testing/twin/test_app.py TestApp": "the one object of a test of an application",
}
"""Classes whose users look for everything in one place. Three of them have a budget below."""
LARGE_CLASSES = {
    "app/declare.py Declarations": 13,
    "app/host.py ProjectHost": 26,
    "app/runtime.py Runtime": 27,
    "consumers/delivery.py Delivery": 30,
    "consumers/delivery.py Holder": 14,
    "consumers/handling/shared.py SharedPool": 12,
    "consumers/reach/host.py Host": 18,
    "consumers/reach/host_reach.py HostReach": 18,
    "consumers/run.py Run": 16,
    "dead/batches/batch_store.py BatchStore": 13,
    "dead/batches/batch_store.py LeasedBatch": 12,
    "dead/moving/places.py Places": 11,
    "desk/pages/letters.py SeenLetters": 12,
    "desk/pages/view.py PageView": 19,
    "desk/site.py Site": 13,
    "drivers/amqp/protocol/connection.py Connection": 23,
    "drivers/amqp/receiving/subscription.py Subscription": 25,
    "drivers/amqp/session.py Session": 12,
    "drivers/memory/queue.py MemoryQueue": 25,
    "drivers/nats/queues/names.py Names": 11,
    "drivers/nats/queues/queues.py OpenQueue": 14,
    "drivers/nats/queues/queues.py Queues": 20,
    "drivers/nats/receiving/pull_requests.py PullRequests": 12,
    "drivers/nats/state/stream.py StoreStream": 17,
    "drivers/nats/state/watch_connection.py PushConnection": 11,
    "drivers/postgres/session.py Session": 16,
    "drivers/redis/session.py Session": 24,
    "drivers/sqlite/store/lanes.py Limits": 11,
    "drivers/sqlite/store/queues.py Queues": 16,
    "drivers/sqlite/store/store.py Store": 12,
    "drivers/sqlite/thread/waiting_receives.py WaitingReceives": 11,
    "handlers/lua/host/budget.py Budget": 11,
    "handlers/lua/types/grammar.py TypeReader": 14,
    "handlers/store.py HandlerStore": 12,
    "queues/inspection.py Inspection": 17,
    "state/worker_record.py Presence": 12,
    "supervisor/supervisor.py Supervisor": 11,
    "testing/context.py _RecordedReach": 16,
    "testing/twin/faults.py Faulty": 13,
    "top/views/view.py View": 16,
}
"""The other classes that had more members when this rule was written. The numbers may only fall; none may join."""
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


def test_a_file_has_five_hundred_lines_at_most() -> None:
    found = {name: len(path.read_text().splitlines()) for name, path in SOURCES.items()}
    assert {name: lines for name, lines in found.items() if lines > LONG_FILES.get(name, LONGEST_FILE)} == {}
    assert [name for name in LONG_FILES if found.get(name, 0) <= LONGEST_FILE] == [], (
        "these keep the rule: take them out"
    )


@dataclass
class Members:
    """The public methods and properties of a class, and the classes of ours that it inherits from."""

    own: set[str]
    bases: list[str]
    is_excepted: bool
    """A record has as many fields as it needs, and a protocol of a contract as many verbs."""


def members_of(name: str, node: ast.ClassDef, imported: dict[str, str]) -> Members:
    bases = [ast.unparse(base).split("[")[0] for base in node.bases]
    record = "NamedTuple" in bases or any("dataclass" in ast.unparse(each) for each in node.decorator_list)
    return Members(
        {each.name for each in node.body if isinstance(each, Function) and not each.name.startswith("_")},
        [imported.get(base, f"{name} {base}") for base in bases],
        record or (name.startswith("contracts/") and "Protocol" in bases),
    )


def classes() -> dict[str, Members]:
    found = {}
    for name, path in SOURCES.items():
        tree = ast.parse(path.read_text())
        imported: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tasuki."):
                module = str(node.module).removeprefix("tasuki.").replace(".", "/")
                file = f"{module}.py" if f"{module}.py" in SOURCES else f"{module}/__init__.py"
                imported |= {alias.asname or alias.name: f"{file} {alias.name}" for alias in node.names}
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                found[f"{name} {node.name}"] = members_of(name, node, imported)
    return found


def counted(name: str, known: dict[str, Members]) -> set[str]:
    """Its own and inherited members, without those that a contract or a class of the tables prescribes."""
    members, prescribed = set(known[name].own), set[str]()
    for base in ancestors(name, known):
        is_excepted = base.startswith("contracts/") or base in ENTRY_POINTS or base in LARGE_CLASSES
        (prescribed if is_excepted else members).update(known[base].own)
    return members - prescribed


def ancestors(name: str, known: dict[str, Members]) -> set[str]:
    bases = {base for base in known[name].bases if base in known}
    return bases.union(*(ancestors(base, known) for base in bases))


def test_a_class_has_ten_public_members_at_most() -> None:
    known = classes()
    suite = "testing/conformance/"  # its classes are lists of clauses
    judged = {name for name, members in known.items() if not members.is_excepted and not name.startswith(suite)}
    found = {name: len(counted(name, known)) for name in judged if len(counted(name, known)) > MOST_MEMBERS}
    others = {name: count for name, count in found.items() if name not in ENTRY_POINTS}
    assert {name: count for name, count in others.items() if count > LARGE_CLASSES.get(name, MOST_MEMBERS)} == {}
    assert sorted((LARGE_CLASSES.keys() | ENTRY_POINTS.keys()) - found.keys()) == [], (
        "these keep the rule: take them out"
    )


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
