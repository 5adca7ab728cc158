"""Python functions as tasks, and the function that is called when one is given up."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from tasuki import Context
from tasuki.errors import HandlerError
from tasuki.handlers.task import PythonGiveUp, PythonTask, problem_of_give_up
from tasuki.queues.messages.codec import JsonCodec
from tasuki.testing.context import RecordingContext

pytestmark = pytest.mark.anyio


async def add(a: int, b: int = 2) -> int:
    return a + b


def add_in_a_thread(context: Context, a: int, b: int = 2) -> tuple[str, int]:
    return context.delivery.function, a + b


@pytest.mark.parametrize(("function", "result"), [(add, 3), (add_in_a_thread, ("app:handler", 3))])
async def test_a_task_gets_its_body_as_arguments(function: Any, result: Any) -> None:
    task = PythonTask("app:add", target=function)
    with pytest.raises(HandlerError, match="not started"):
        task.decoder(JsonCodec())
    await task.start()
    body = task.decoder(JsonCodec())(b'{"a": 1}')
    assert body == {"a": 1}
    assert task.all_arguments(body) == {"a": 1, "b": 2}
    assert await task.handle(body, RecordingContext()) == result
    assert await task.call([1], RecordingContext()) == result
    await task.stop()


async def test_a_bound_part_is_no_argument() -> None:
    task = PythonTask("app:add", target=functools.partial(add, b=10))
    await task.start()
    assert await task.handle(task.decoder(JsonCodec())(b'{"a": 1}'), RecordingContext()) == 11


async def test_a_function_that_cannot_be_a_task_does_not_start() -> None:
    with pytest.raises(HandlerError, match=r"a task cannot take \*numbers"):
        await PythonTask("app:x", target=lambda *numbers: None).start()


async def test_giving_up_calls_with_what_the_function_names() -> None:
    seen: list[Any] = []

    def clean(error: Exception, a: int, context: Context, more: str = "x") -> None:
        seen.append((error, a, context.delivery.function, more))

    async def plain() -> None:
        seen.append("plain")

    error = ValueError("no")
    for function in (clean, plain):
        handler = PythonGiveUp("app:clean", target=function)
        await handler.start()
        await handler.give_up({"a": 1, "b": 2}, error, RecordingContext())
        await handler.stop()
    assert seen == [(error, 1, "app:handler", "x"), "plain"]


async def test_giving_up_without_an_argument_that_it_needs_is_an_error() -> None:
    def clean(c: int) -> None: ...

    handler = PythonGiveUp("app:clean", target=clean)
    await handler.start()
    with pytest.raises(HandlerError, match="the task has no parameter 'c'"):
        await handler.give_up({"a": 1}, ValueError(), RecordingContext())
    await handler.stop()


def test_a_function_that_cannot_be_called_then_says_why() -> None:
    def unknown(a: int, c: int) -> None: ...

    def positional(a: int, /) -> None: ...

    def good(a: int, error: Exception, log: str = "x") -> None: ...

    def own_error(error: str) -> None: ...

    assert "cannot fill parameter 'c'; it may name a, b, error, and injected" in problem_of_give_up(unknown, add)
    assert "parameter 'a' must be one that can be given by name" in problem_of_give_up(positional, add)
    assert "the task has a parameter 'error' itself" in problem_of_give_up(good, own_error)
    assert "a task cannot take *" in problem_of_give_up(lambda *all: None, add)
    assert problem_of_give_up(good, add) == ""
