import logging
from collections.abc import Callable
from typing import Any

import pytest

from tasuki.contracts.handler import Context
from tasuki.handlers.arguments import bind, fill
from tasuki.handlers.signature import read_signature
from tasuki.message import Message
from tasuki.testing.context import RecordingContext

MESSAGE = Message("1", b"{}", {})
CONTEXT = RecordingContext(MESSAGE)


def call(function: Callable[..., Any]) -> Any:
    return bind(function, read_signature(function))("B", CONTEXT)


def nothing() -> Any:
    return ()


def body(a: Any) -> Any:
    return (a,)


def body_context(a: Any, b: Context) -> Any:
    return (a, b)


def context_body(b: Context, a: Any) -> Any:
    return (b, a)


def all_kinds(m: Message, a: Any, log: logging.Logger, c: Context) -> Any:
    return (m, a, log, c)


def with_default(a: Any, x: int = 5) -> Any:
    return (a, x)


def default_between(a: Any, x: int = 5, c: Context | None = None, /) -> Any:
    return (a, x, c)


def by_name(*, c: Context, a: Any, x: int = 5) -> Any:
    return (c, a, x)


def variadic(*args: Any) -> Any:
    return args


def rest(a: Any, *more: Any, c: Context) -> Any:
    return (a, more, c)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (nothing, ()),
        (body, ("B",)),
        (body_context, ("B", CONTEXT)),
        (context_body, (CONTEXT, "B")),
        (all_kinds, (MESSAGE, "B", CONTEXT.logger, CONTEXT)),
        (with_default, ("B", 5)),
        (default_between, ("B", 5, CONTEXT)),
        (by_name, (CONTEXT, "B", 5)),
        (variadic, ("B",)),
        (rest, ("B", (), CONTEXT)),
    ],
)
def test_bind(function: Callable[..., Any], expected: Any) -> None:
    assert call(function) == expected


@pytest.mark.parametrize(
    ("function", "args", "expected"),
    [
        (nothing, [], ()),
        (body, [1], (1,)),
        (body, [], (None,)),
        (body_context, [1], (1, CONTEXT)),
        (context_body, [1], (CONTEXT, 1)),
        (with_default, [1], (1, 5)),
        (with_default, [1, 2], (1, 2)),
        (default_between, [1], (1, 5, CONTEXT)),
        (default_between, [1, 2], (1, 2, CONTEXT)),
        (by_name, [1, 2], (CONTEXT, 1, 2)),
        (variadic, [], ()),
        (variadic, [1, 2, 3], (1, 2, 3)),
        (rest, [1, 2, 3], (1, (2, 3), CONTEXT)),
    ],
)
def test_fill(function: Callable[..., Any], args: list[Any], expected: Any) -> None:
    parameters = read_signature(function)
    converts = {parameter.name: lambda value: value for parameter in parameters}
    positional, named = fill(parameters, converts, args, CONTEXT)
    assert function(*positional, **named) == expected
