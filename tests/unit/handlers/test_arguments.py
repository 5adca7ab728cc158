"""The arguments of a task: what a call may give, what travels, and what the function gets."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Optional
from uuid import UUID

import msgspec
import pydantic
import pytest

from tasuki import Context, Message
from tasuki.errors import BodyTypeError, HandlerError, InvalidBodyError
from tasuki.handlers import arguments as arguments_module
from tasuki.handlers.arguments import TaskArguments
from tasuki.handlers.body import make_reader
from tasuki.handlers.task import problem_of_task
from tasuki.queues.messages.codec import BytesCodec, JsonCodec, MsgpackCodec
from tasuki.testing.context import RecordingContext

NOW = datetime(2026, 11, 28, 5, 0, tzinfo=UTC)


@dataclass
class Mail:
    to: str
    size: int = 0


class Model(pydantic.BaseModel):
    number: int


class Color(Enum):
    RED = "red"


def fetch(url: str, as_json: bool = False, *, tries: int = 1) -> tuple[Any, ...]:
    return url, as_json, tries


def rich(mail: Mail, when: datetime, price: Decimal, id: UUID, color: Color, model: Model, raw: bytes) -> None: ...


def first(context: Context, url: str, /, as_json: bool = False) -> tuple[Any, ...]:
    return context, url, as_json


def anywhere(url: str, message: Message | None, n: int = 2, log: logging.Logger | None = None) -> tuple[Any, ...]:
    return url, message, n, log


def untyped(a, b=2):  # type: ignore[no-untyped-def]
    return a, b


def bind(function: Callable[..., Any], *args: Any, **named: Any) -> dict[str, Any]:
    return TaskArguments(function).bind("it(…)", args, named)


def test_positions_and_names_become_names_and_defaults_are_left_to_the_function() -> None:
    assert bind(fetch, "u") == {"url": "u"}
    assert bind(fetch, "u", True, tries=3) == {"url": "u", "as_json": True, "tries": 3}
    assert bind(fetch, url="u") == {"url": "u"}
    assert bind(untyped, object) == {"a": object}
    assert bind(first, "u") == {"url": "u"}


@pytest.mark.parametrize(
    ("function", "args", "named", "problem"),
    [
        (fetch, (), {}, "lacks parameter 'url' (str)"),
        (fetch, (1,), {}, "cannot take this int as parameter 'url' (str): Expected `str`, got `int`"),
        (fetch, ("u", 1), {}, "cannot take this int as parameter 'as_json' (bool): Expected `bool`, got `int`"),
        (fetch, ("u", True, 3), {}, "takes 2 arguments by position, not 3"),
        (fetch, ("u",), {"url": "v"}, "got parameter 'url' twice, by position and by name"),
        (fetch, ("u",), {"as_jsn": True}, "has no parameter 'as_jsn'"),
        (anywhere, ("u",), {"message": None}, "cannot take 'message' by name: it is injected by the worker"),
        (first, (), {"url": "u"}, "cannot take 'url' by name: it is taken by position only"),
        (rich, (Mail("a", "x"),), {}, "lacks parameter 'when' (datetime.datetime)"),  # type: ignore[arg-type]
    ],
)
def test_a_call_that_does_not_fit_names_the_parameter_its_type_and_the_call(
    function: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any], problem: str
) -> None:
    with pytest.raises(BodyTypeError) as refused:
        bind(function, *args, **named)
    assert str(refused.value).startswith(f"it(…) {problem}; nothing was sent; its arguments are (")


def test_a_value_within_an_argument_is_checked_too() -> None:
    good = {"when": NOW, "price": Decimal("1.5"), "id": UUID(int=1), "color": Color.RED, "model": Model(number=1)}
    with pytest.raises(BodyTypeError, match=r"cannot take this Mail as parameter 'mail' .*\$\.size"):
        bind(rich, Mail("a", "x"), **good, raw=b"")  # type: ignore[arg-type]
    with pytest.raises(BodyTypeError, match="cannot take this object as parameter 'raw'"):
        bind(rich, Mail("a"), **good, raw=object())


class Level(IntEnum):
    LOW = 1


class Ratio(float): ...


NUMBERS = [float("nan"), float("inf"), -0.0, 2.5, Ratio(1.5), True, 1, 2**64, 10**400, Level.LOW]

OTHERS = ["1", "x", "\ud800", None, [1], {"a": 1}, b"x", Decimal(1), object(), msgspec.UNSET]

OPTIONAL: Any = Optional[str]  # noqa: UP045 - another class than str | None before 3.14

PLAIN: list[Any] = [int, str, float, bool, None, int | None, float | None, OPTIONAL, int | float, float | str]

LIMITED: list[Any] = [Annotated[int, msgspec.Meta(ge=2)], Annotated[float, msgspec.Meta(gt=3)] | None]

READ: list[Any] = [int | Decimal, Level, Level | None, list[float], dict[str, int] | None, Model | int, Model | None]


def function_of(*types: Any) -> Callable[..., None]:
    def function(**named: Any) -> None: ...

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(f"p{at}", kind, annotation=type_) for at, type_ in enumerate(types)]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {each.name: each.annotation for each in parameters}
    return function


def outcome(call: Callable[..., object], *args: Any) -> str:
    try:
        call(*args)
    except BodyTypeError as error:
        return str(error).partition("): ")[2].partition("; nothing was sent")[0]
    except HandlerError as error:
        return str(error).removeprefix("the body does not fit: ")
    except UnicodeEncodeError as error:
        return str(error)
    return "fits"


@pytest.mark.parametrize("type_", [*PLAIN, *LIMITED, *READ], ids=str)
def test_an_argument_fits_if_a_reader_of_its_type_takes_it_and_travels_as_it_is(type_: Any) -> None:
    arguments, read = TaskArguments(function_of(type_)), make_reader(type_)
    for value in [*NUMBERS, *OTHERS]:
        expected = "fits" if value is msgspec.UNSET else outcome(read, value)
        if type_ is str and value == "\ud800":
            expected = "fits"  # the codec refuses it
        assert outcome(arguments.bind, "it(…)", (value,), {}) == expected, value
        if expected == "fits":
            assert arguments.bind("it(…)", (value,), {})["p0"] is value


def test_plain_values_of_plain_types_need_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments_module, "make_reader", None)
    types = (int, str, float, bool, int | None, OPTIONAL, float | None, int | float, float | str | None)
    values = (1, "x", float("nan"), True, None, "x", 2.5, 1, None)
    given = TaskArguments(function_of(*types)).bind("it(…)", values, {})
    assert tuple(given.values()) == values
    assert not given.untyped


@pytest.mark.parametrize("codec", [JsonCodec(), MsgpackCodec()])
def test_a_whole_number_for_a_float_reaches_the_function_as_a_float(codec: JsonCodec | MsgpackCodec) -> None:
    arguments = TaskArguments(function_of(float, float | None, int | float))
    read = arguments.decoder(codec)(codec.encode(arguments.bind("it(…)", (3, 4, 5), {})))
    assert [repr(value) for value in read.values()] == ["3.0", "4.0", "5"]


@pytest.mark.parametrize("codec", [JsonCodec(), MsgpackCodec()])
def test_rich_arguments_arrive_as_they_were_sent(codec: JsonCodec | MsgpackCodec) -> None:
    arguments = TaskArguments(rich)
    values = (Mail("a", 1), NOW, Decimal("1.5"), UUID(int=1), Color.RED, Model(number=1), b"\x00")
    given = arguments.bind("it(…)", values, {})
    assert arguments.decoder(codec)(codec.encode(given)) == given


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "missing required field `url`"),
        ({"url": 1}, "Expected `str`, got `int` - at `$.url`"),
        ({"url": "u", "more": 1}, "the task has no parameter 'more'"),
        ({"url": "u", "as_json": None}, "Expected `bool`, got `null` - at `$.as_json`"),
        (["u"], "Expected `object`, got `array`"),
    ],
)
def test_a_body_that_does_not_fit_is_invalid(body: Any, problem: str) -> None:
    decode = TaskArguments(fetch).decoder(JsonCodec())
    with pytest.raises(InvalidBodyError) as refused:
        decode(JsonCodec().encode(body))
    assert problem in str(refused.value)


def test_bytes_are_no_arguments() -> None:
    with pytest.raises(InvalidBodyError):
        TaskArguments(fetch).decoder(BytesCodec())(b"x")


def test_the_function_is_called_with_its_arguments_and_what_is_injected() -> None:
    context = RecordingContext(Message("1", b"", {}))
    assert TaskArguments(fetch).caller(fetch)({"url": "u", "tries": 2}, context) == ("u", False, 2)
    assert TaskArguments(first).caller(first)({"url": "u"}, context) == (context, "u", False)
    assert TaskArguments(first).caller(first)({"url": "u", "as_json": True}, context) == (context, "u", True)
    called = TaskArguments(anywhere).caller(anywhere)({"url": "u"}, context)
    assert called == ("u", context.message, 2, context.logger)


def test_defaults_are_known() -> None:
    assert TaskArguments(fetch).defaults == {"as_json": False, "tries": 1}
    assert TaskArguments(fetch).names == ["url", "as_json", "tries"]


def test_a_function_that_cannot_be_a_task_says_why() -> None:
    def stars(*urls: str) -> None: ...

    def keywords(url: str, **more: Any) -> None: ...

    def strange(url: Thread) -> None: ...

    async def generator(url: str) -> AsyncIterator[str]:
        yield url

    assert "is a generator; a handler must not yield" in problem_of_task(generator)
    assert "a task cannot take *urls" in problem_of_task(stars)
    assert "a task cannot take **more" in problem_of_task(keywords)
    assert "parameter 'url': a body cannot become Thread" in problem_of_task(strange)
    assert problem_of_task(fetch) == ""
    with pytest.raises(HandlerError, match=r"test_arguments\.py:"):
        TaskArguments(stars)


class Thread:
    def __init__(self, name: str) -> None: ...
