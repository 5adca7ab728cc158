"""The examples of the pages are true: Python compiles, YAML passes the check, commands and fields are there."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tasuki.cli.group import root
from tasuki.errors import ProjectError
from tasuki.fields.types import DriverKind
from tasuki.kinds.check.project import check
from tasuki.kinds.kind import driver_names, find_kind
from tasuki.registry.loader import Loaded, load
from tests.support.django_site import set_up
from tests.support.pages.blocks import Block, blocks_of

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("README*.md")), *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("docs/how-to/*.md"))]
ADDRESSES = {"postgres": "postgresql://h/d", "redis": "redis://h", "amqp": "amqp://h/"}
SECRETS = ("REDIS_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "TASKS_KEY", "TASKS_OLD_KEY")

STAGE: dict[str, dict[str, Any]] = {
    "main_driver": {"kind": "queue.driver.memory"},
    "shared": {"kind": "queue.driver.memory"},
    "tasks": {"kind": "queue.queue", "driver": "main_driver"},
    "dead": {"kind": "queue.queue", "driver": "main_driver"},
    **{name: {"kind": "queue.queue", "driver": "main_driver"} for name in ("mails", "reports", "imports")},
    "send": {"kind": "function.lua", "source": "return function() end"},
    "web_may_publish": {"kind": "security.policy", "policy": {"actions": "*", "resources": "*", "effect": "allow"}},
}
"""What the examples mention and do not show."""


def blocks(*languages: str) -> list[Any]:
    found = [
        pytest.param(block, id=block.name) for page in PAGES for block in blocks_of(page) if block.language in languages
    ]
    assert found
    return found


def entries_of(block: Block) -> list[dict[str, Any]]:
    """The entries that a block shows; none if it is something else (Kubernetes, single fields)."""
    shown = yaml.safe_load(re.sub(r"\$\{env:STRICT\|false\}", "false", block.text))
    listed = shown.get("entries", []) if isinstance(shown, dict) else shown
    return [entry for entry in listed if isinstance(entry, dict) and "kind" in entry and "name" in entry]


@pytest.mark.parametrize("block", blocks("python"))
def test_python_compiles_and_its_names_of_ours_exist(block: Block) -> None:
    set_up()  # of a project with Django, whose app is made by its settings
    tree = compile(block.text, block.name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    compile(tree, block.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tasuki":
            module = importlib.import_module(str(node.module))
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.parametrize("block", blocks("yaml"))
def test_yaml_passes_the_check(block: Block, tmp_path: Path) -> None:
    if not entries_of(block):
        assert yaml.safe_load(block.text)
        return
    check(load(tmp_path, environ=stage(block, tmp_path)))


def stage(block: Block, tmp_path: Path) -> dict[str, str]:
    """Write a project around the entries of a block; the environment that it needs."""
    shown = entries_of(block)
    whole = yaml.safe_load(block.text)
    namespace = whole["namespace"] if isinstance(whole, dict) and "namespace" in whole else "app"
    named = {entry["name"] for entry in shown}
    staged = [{"name": name, **fields} for name, fields in STAGE.items() if name not in named]
    for source in re.findall(r"file://([^\s,}]+)", block.text):
        (tmp_path / source).write_text("return function() end")
    (tmp_path / "_index.yaml").write_text(yaml.safe_dump({"namespace": namespace, "entries": [*staged, *shown]}))
    address = next((url for name, url in ADDRESSES.items() if f"kind: queue.driver.{name}" in block.text), "")
    return {"QUEUE_URL": address, "DATABASE_URL": address, **dict.fromkeys(SECRETS, "sixteen or more characters")}


def commands() -> list[Any]:
    found = []
    for parameter in blocks("console", ""):
        block = parameter.values[0]
        found += [
            pytest.param(shlex.split(line), id=f"{block.name} {line.strip()}")
            for line in re.findall(r"(?:^\$ |&& )(tasuki [^#\n&>|]*)", block.text, re.MULTILINE)
        ]
    assert len(found) > 15
    return found


@pytest.mark.parametrize("arguments", commands())
def test_commands_take_their_arguments(arguments: list[str]) -> None:
    _, name, *rest = arguments
    context = click.Context(root)
    command = root.get_command(context, name)
    assert command is not None
    command.make_context(name, rest, parent=context).close()


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "field of the driver" in page.read_text()], ids=lambda p: p.stem
)
def test_the_fields_of_a_driver_are_all_there(page: Path) -> None:
    kind = find_kind(f"queue.driver.{page.stem}")
    assert isinstance(kind, DriverKind)
    known = {field.alias or name for name, field in kind.model.model_fields.items()} - {
        "durability",
        "state",
        "lifecycle",
    }
    assert _first_column(page, "field of the driver") == known


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "| option of a queue" in page.read_text()], ids=lambda p: p.stem
)
def test_the_options_of_a_queue_are_known(page: Path) -> None:
    kind = find_kind(f"queue.driver.{page.stem}")
    assert isinstance(kind, DriverKind)
    assert kind.queue_options is not None
    own = {"max_length", "message_ttl"}  # of the entry itself
    assert _first_column(page, "option of a queue") - own <= set(kind.queue_options.model_fields)


def _first_column(page: Path, heading: str) -> set[str]:
    table = page.read_text("utf-8").partition(f"| {heading}")[2].partition("\n\n")[0].splitlines()[2:]
    return {name for row in table for name in re.findall(r"`(\w+)`", row.split("|")[1])}


_OF_ONE_DRIVER = {page for page in PAGES if page.stem in driver_names()}
"""Pages about one driver, whose options others do not have."""


@pytest.mark.parametrize("driver", driver_names())
@pytest.mark.parametrize("block", [b for b in blocks("yaml") if b.values[0].page not in _OF_ONE_DRIVER])
def test_examples_pass_the_check_on_every_driver(block: Block, driver: str, tmp_path: Path) -> None:
    """Swapped by overrides; a driver may refuse a field that the example states, and nothing else.

    Two drivers that are swapped lose their addresses, and are then at one place.
    """
    if not entries_of(block):
        return
    environ = {**stage(block, tmp_path), "QUEUE_URL": ADDRESSES.get(driver, "none")}
    loaded = load(tmp_path, environ=environ)
    overrides = [f"{entry.id}:kind=queue.driver.{driver}" for entry in loaded.registry if ".driver." in entry.kind]
    problems = problems_of(load(tmp_path, overrides=overrides, environ=environ))
    may_be_told = (
        ("needs a driver that can", "lead to the same place", "has no store") if block.page.name != "README.md" else ()
    )
    assert [told for told in problems if not any(words in told for words in may_be_told)] == []


def problems_of(loaded: Loaded) -> list[str]:
    try:
        check(loaded)
    except ProjectError as error:
        return [told.problem for told in error.errors]
    return []
