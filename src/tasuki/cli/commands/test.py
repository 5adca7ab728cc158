"""``tasuki test``: calls every function with ``meta.type: test``."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli import loop
from tasuki.cli.calling import call, functions
from tasuki.cli.exits import ERROR, OK, CommandError
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import count, print_json
from tasuki.cli.project import Target
from tasuki.errors import TasukiError
from tasuki.observe.plain import escape_lines
from tasuki.units import format_duration

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.kinds.project import Project


@click.command("test")
@click.argument("pattern", metavar="[FILTER]", default="")
@json_option
@project_options()
def command(target: Target, pattern: str, *, as_json: bool) -> int:
    """Call each function that says 'meta: {type: test}', or those whose id or suite contains FILTER.

    A test fails if it raises, returns false, or returns an error as its second value. Consumers do not run.
    """
    app = target.load()
    project = app.check()
    tests = _tests(project)
    chosen = {id: suite for id, suite in tests.items() if _matches(pattern, id, suite)}
    if tests and not chosen:
        raise CommandError(f"no test matches {pattern!r}; there are: {', '.join(tests)}")

    async def run() -> list[dict[str, Any]]:
        results = []
        async for result in _run(app, chosen):
            results.append(result)
            if not as_json:
                _show(result)
        return results

    results = loop.run(run()) if chosen else []
    failed = sum(result["status"] == "failed" for result in results)
    if as_json:
        print_json(results)
    elif results:
        click.echo(f"{count(len(results) - failed, 'test')} passed, {failed} failed")
    else:
        click.echo("no tests: give a function 'meta: {type: test}'")
    return ERROR if failed else OK


def _tests(project: Project) -> dict[str, str]:
    """Test id → suite: its ``meta.suite``, or else its namespace."""
    entries = [project.registry.entries[id] for id in functions(project)]
    return {
        entry.id: str(entry.meta.get("suite") or entry.namespace)
        for entry in entries
        if entry.meta.get("type") == "test"
    }


def _matches(pattern: str, id: str, suite: str) -> bool:
    return pattern in id or pattern in suite or fnmatchcase(id, pattern) or fnmatchcase(suite, pattern)


async def _run(app: App, tests: dict[str, str]) -> AsyncIterator[dict[str, Any]]:
    async with app:
        for id, suite in tests.items():
            started = time.monotonic()
            error = await _error_of(app, id)
            seconds = round(time.monotonic() - started, 6)
            status = "passed" if error is None else "failed"
            yield {"id": id, "suite": suite, "status": status, "error": error, "seconds": seconds}


async def _error_of(app: App, id: str) -> str | None:
    try:
        result = await call(app, id)
    except TasukiError as error:
        return str(error)
    if result is False:
        return "it returned false"
    # Lua's second value is raised by the handler already; in Python it is a pair.
    if isinstance(result, tuple) and len(result) == 2 and _is_error(*result):
        return f"it returned an error: {result[1]}"
    return None


def _is_error(first: Any, second: Any) -> bool:
    return isinstance(second, BaseException) or (first is None and isinstance(second, str))


def _show(result: dict[str, Any]) -> None:
    passed = result["status"] == "passed"
    word = click.style("passed", fg="green") if passed else click.style("failed", fg="red", bold=True)
    click.echo(f"{word}  {result['id']}  {format_duration(round(result['seconds'], 3))}")
    if not passed:
        click.echo("        " + escape_lines(result["error"]).replace("\n", "\n        "))
