"""What the check reports of Python functions: all mistakes of an app at once, each with file, line and remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tasuki import App, Retries
from tasuki.errors import ConfigError, ProjectError
from tests.unit.kinds import wrong

FILE = Path(wrong.__file__)

MISTAKES = {
    "not_annotated": r"cannot inject parameter 'extra' | annotate it as Message, Context",
    "two_bodies": r"cannot inject parameter 'second' \(.*Mail\) | or give it a default",
    "missing_provider": r"cannot inject parameter 'absent' \(.*Absent\) | a type that @app.provide provides",
    "unresolvable": r"cannot resolve the annotation 'Nowhere' of parameter 'mail' | import it at the top of its module",
    "only_for_checkers": r"cannot resolve the annotation 'Decimal' of parameter 'price' | not under TYPE_CHECKING",
    "no_body": r"parameter 'thread': a body cannot become Handler | use a msgspec.Struct",
    "generator": r"is a generator | a handler must not yield: return a value",
    "async_generator": r"is a generator | a handler must not yield: return a value",
    "sync_for_async": r"runs in a thread, and cannot be given what the async provider 'app:pool' | with 'async def'",
    "wrong_default": r"parameter 'engine' is injected, but its default 5 is of another type | remove the default",
    "wrong_context": r"parameter 'context' is injected, but its default 'none' is of another type | remove the default",
    "NotCallable": r"class 'NotCallable' is no function | decorate a function, or give the class a method __call__",
    "NeedsArguments": r"class 'NeedsArguments' is made without arguments, .*'engine' | make the object yourself",
    "builtin": r"function 'max' has no readable signature | wrap it in a def",
    "called": r"cannot inject parameter 'second' \(int\) | give it a default",
    "not_a_list": r"parameter 'mail' is Mail, but .* with a list of bodies | annotate it as list[Mail]",
    "one_message": r"parameter 'message' is one Message, | annotate it as list[Message]",
    "wrong_result": r"returns dict\[str, int\], but the result of a batch is nothing or a list | annotate it as None",
    "stars": r"a task cannot take \*urls: | give each one a parameter",
    "keywords": r"a task cannot take \*\*options: | give each one a parameter",
    "lambda": r"function '<lambda>' has no name that the messages of a task can carry | write it with 'def'",
    "strange": r"parameter 'thread': a body cannot become Handler | use a msgspec.Struct",
    "yields": r"is a generator | a handler must not yield: return a value",
    "not_provided": r"inject names .*Mail, which nothing provides | declare a provider of that type",
    "by_position": r"parameter 'url' must be one that can be given by name | remove the '/'",
    "unknown_parameter": r"cannot fill parameter 'address' | it may name url, error, and injected parameters",
    "unknown_error": r"retry.never names 'ConectionError', .* no exception | did you mean 'ConnectionError'?",
    "unknown_member": r"retry.never names 'json.DecodeError', .* no exception | did you mean 'JSONDecodeError'?",
    "hen": r"needs itself: 'app:hen' → 'app:egg' → 'app:hen' | remove one of these parameters",
    "too_long": r"is made once for all messages, and needs 'app:of_message', .* for one | give 'app:too_long' scope",
    "no_message": r"is made once for all messages, but its parameter 'message' is the message of one | remove it",
    "unsaid": r"does not say what it provides | annotate its result",
    "too_common": r"provides str, which bodies and arguments are too | give it its own type",
    "twice": r"provides the same type as 'app:engine' | remove one of them",
    "lacks": r"has a parameter 'absent' \(.*Absent\) that nothing provides | declare a provider of that type",
    "not_async": r"is no async function, as a middleware must be | write it with 'async def'",
    "too_many": r"cannot be called as a middleware | it takes (body, context, handle) around a handler",
    "hook": r"cannot be called as a hook | a hook takes the moment as its only argument, or nothing",
    "hook_that_yields": r"is a generator, which a hook does not run | use await instead of yield",
    "hook_of_no_task": r"it is for task 'generatr', which no consumer has | there are: ",
}
"""Function → the problem, and a part of the remedy."""


def line_of(name: str) -> int:
    """The line that the report must name: of the function, with its decorators."""
    lines = FILE.read_text().splitlines()
    pattern = {"builtin": r"queue\.consumer\(name=.builtin", "lambda": r"tasks\.task\(lambda"}.get(
        name, rf"(async )?(def|class) {name}\b"
    )
    number = next(number for number, line in enumerate(lines) if re.match(pattern, line))
    while number and lines[number - 1].startswith("@"):
        number -= 1
    return number + 1


@pytest.fixture(scope="module")
def reported() -> dict[int, ConfigError]:
    """By line."""
    with pytest.raises(ProjectError) as refused:
        wrong.app.check()
    errors = refused.value.errors
    assert {error.position.file for error in errors if error.position} == {str(FILE)}
    found = {error.position.line: error for error in errors if error.position}
    assert len(found) == len(errors), [str(error) for error in errors]
    return found


def test_every_mistake_is_reported_at_once_and_nothing_else(reported: dict[int, ConfigError]) -> None:
    expected = {line_of(name): name for name in MISTAKES}
    assert len(expected) == len(MISTAKES) >= 25
    assert {line: expected.get(line, str(error)) for line, error in reported.items()} == expected


@pytest.mark.parametrize("name", MISTAKES)
def test_each_says_what_is_wrong_and_what_to_write(name: str, reported: dict[int, ConfigError]) -> None:
    problem, remedy = MISTAKES[name].split(" | ")
    error = reported[line_of(name)]
    assert re.search(problem, error.problem), error.problem
    assert remedy in error.hint
    assert error.entry.startswith("app:")


def test_a_mistake_of_the_consumer_is_not_one_of_its_tasks() -> None:
    app = App("memory://")
    queue = app.queue("mails", dead_letter="dead")
    queue.task_consumer(concurency=4)  # type: ignore[call-arg]

    def gone(url: str, error: BaseException) -> None: ...

    @queue.task(retry=Retries(3), on_give_up=gone)
    def send(url: str, numbers: list[int]) -> None: ...

    with pytest.raises(ProjectError) as refused:
        app.check()
    (error,) = refused.value.errors
    assert "unknown field 'concurency'" in error.problem
