"""``tasuki call`` and ``test``: functions of a project, called by hand or by its test cases."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli import loop
from tasuki.cli.exits import ERROR, OK, CommandError, exit_code_of, show_error
from tasuki.cli.options import json_option, printing, project_options
from tasuki.cli.output import count, print_json, print_text
from tasuki.cli.project import Target, find_id, place_of
from tasuki.contracts.handler import Reject, Retry, Snooze
from tasuki.errors import HandlerError, StopTimeoutError, TasukiError
from tasuki.observe.plain import escape_lines
from tasuki.registry.entry import describe
from tasuki.scalars import settle
from tasuki.units import format_duration

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.kinds.check.project import Project
    from tasuki.registry.entry import Entry


_SIGNALS = ((Retry, "requests another attempt"), (Reject, "rejects the call"), (Snooze, "postpones the call"))


def functions(project: Project) -> list[str]:
    """Ids of all functions, in the order of declaration."""
    from tasuki.kinds.build import is_function

    return [id for id, config in project.configs.items() if is_function(config)]


def find_function(project: Project, name: str) -> str:
    """The full id of a function. Raises CommandError."""
    return find_id(name, functions(project), "function")


async def call(app: App, function: str, args: Sequence[Any] = ()) -> Any:
    """Call it; its result.

    Raises:
        TasukiError: it failed, in whatever way; the message has the place in the user's code.
    """
    try:
        return await app.call(function, *args)
    except HandlerError as error:
        raise CommandError(f"{function} failed: {error.traceback or error}") from error
    except TasukiError:
        raise
    except (Retry, Reject, Snooze) as signal:
        verdict = next(text for kind, text in _SIGNALS if isinstance(signal, kind))
        raise CommandError(f"{function} {verdict}: {signal.reason or 'no reason given'}") from signal
    except Exception as error:
        raise CommandError(f"{function} raised {place_of(error)}") from error


def _show_call(result: Any) -> None:
    if result is not None:
        (print_text if isinstance(result, str) else print_json)(result)


@click.command("call", context_settings={"ignore_unknown_options": True})
@click.argument("function", metavar="FUNC")
@click.argument("args", nargs=-1)
@printing(_show_call)
@project_options()
def call_command(target: Target, function: str, args: tuple[str, ...]) -> Any:
    """Call the function FUNC of the project and print what it returns.

    Each of ARGS is JSON, or else the text itself. The call has no message; messages that the function
    publishes are really published.
    """
    app = target.load()
    id = find_function(app.check(), function)

    async def run() -> Any:
        async with app._runtime.briefly():
            return await call(app, id, [_argument(text) for text in args])

    return loop.run(run())


def _argument(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@click.command("test")
@click.argument("pattern", metavar="[FILTER]", default="")
@click.option("--no-consumers", is_flag=True, help="Only call the tests: start no consumer.")
@json_option
@project_options()
def test_command(target: Target, pattern: str, *, no_consumers: bool, as_json: bool) -> int:
    """Call each function that says 'meta: {type: test}', or those whose id or suite contains FILTER.

    Consumers with auto_start run meanwhile, and are drained at the end. Tests run in the order of 'meta.suite',
    'meta.order' and id. A test fails if it raises, returns false, or returns an error as its second value.
    """
    app = target.load()
    project = app.check()
    tests = _tests(project)
    chosen = {id: suite for id, suite in tests.items() if _matches(pattern, id, suite)}
    if tests and not chosen:
        raise CommandError(f"no test matches {pattern!r}; there are: {', '.join(tests)}")
    results: list[dict[str, Any]] = []

    async def run() -> None:
        async with app:
            if not no_consumers:
                await _start(app)
            for id, suite in chosen.items():
                results.append({"id": id, "suite": suite, **await _result(app, id)})
                if not as_json:
                    _show_test(results[-1])

    try:
        if chosen:
            loop.run(run())
        code = OK
    except StopTimeoutError as error:  # after the last test: its result stands
        show_error(error)
        code = exit_code_of(error)
    failed = sum(result["status"] == "failed" for result in results)
    if as_json:
        print_json(results)
    elif results:
        click.echo(f"{count(len(results) - failed, 'test')} passed, {failed} failed")
    else:
        click.echo("no tests: give a function 'meta: {type: test}'")
    return ERROR if failed else code


async def _start(app: App) -> None:
    """Start the consumers. Raises the error of an unavailable broker: no test waits for its return."""
    from tasuki.kinds.entries.consumer import ConsumerConfig
    from tasuki.kinds.entries.queue import QueueConfig

    project = app.check()
    states = app._runtime.supervisor.states()
    for consumer in project.of(ConsumerConfig).values():
        driver = states[project.of(QueueConfig)[consumer.queue].driver]
        if consumer.lifecycle.auto_start and driver.error is not None:
            raise driver.error
    await app.start()


def _tests(project: Project) -> dict[str, str]:
    """Test id → suite (its ``meta.suite``, or else its namespace), in the order of calling."""
    entries = [project.registry.entries[id] for id in functions(project)]
    tests = [entry for entry in entries if entry.meta.get("type") == "test"]
    tests.sort(key=lambda entry: (_suite(entry), _order(entry), entry.id))
    return {entry.id: _suite(entry) for entry in tests}


def _suite(entry: Entry) -> str:
    return str(entry.meta.get("suite") or entry.namespace)


def _order(entry: Entry) -> float:
    order = settle(entry.meta.get("order", 0))
    if isinstance(order, bool) or not isinstance(order, int | float):
        raise CommandError(f"{entry.id}: meta.order is a number, not {describe(order)}")
    return order


def _matches(pattern: str, id: str, suite: str) -> bool:
    return pattern in id or pattern in suite or fnmatchcase(id, pattern) or fnmatchcase(suite, pattern)


async def _result(app: App, id: str) -> dict[str, Any]:
    started = time.monotonic()
    error = await _error_of(app, id)
    seconds = round(time.monotonic() - started, 6)
    return {"status": "passed" if error is None else "failed", "error": error, "seconds": seconds}


async def _error_of(app: App, id: str) -> str | None:
    try:
        result = await call(app, id)
    except TasukiError as error:
        return str(error)
    # Lua's second value is raised by the handler already; in Python it is a pair.
    match result:
        case False:
            return "it returned false"
        case tuple((_, BaseException() as second)) | tuple((None, str() as second)):
            return f"it returned an error: {second}"
    return None


def _show_test(result: dict[str, Any]) -> None:
    passed = result["status"] == "passed"
    word = click.style("passed", fg="green") if passed else click.style("failed", fg="red", bold=True)
    click.echo(f"{word}  {result['id']}  {format_duration(round(result['seconds'], 3))}")
    if not passed:
        click.echo("        " + escape_lines(result["error"]).replace("\n", "\n        "))
