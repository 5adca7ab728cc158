from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Optional

import pytest

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tasuki.handlers.signature import Role, describe, read_signature
from tasuki.message import Message
from tests.unit.handlers import plain

if TYPE_CHECKING:
    from decimal import Decimal as Hidden


def roles(function: Callable[..., Any]) -> dict[str, str]:
    return {parameter.name: parameter.role.value for parameter in read_signature(function)}


def test_the_first_parameter_is_the_body() -> None:
    def f(task: int, extra: str = "x") -> None: ...

    assert roles(f) == {"task": "body", "extra": "extra"}
    assert read_signature(f)[0].type_ is int
    assert read_signature(f)[1].default == "x"


def test_no_parameters() -> None:
    assert read_signature(lambda: None) == ()


def test_injected_ones_may_stand_anywhere() -> None:
    def f(context: Context, message: Message, task: dict[str, int], log: logging.Logger) -> None: ...

    assert roles(f) == {"context": "context", "message": "message", "task": "body", "log": "logger"}


def test_optional_and_annotated_ones_are_injected_too() -> None:
    def f(
        a: Context | None,
        b: Optional[Message],  # noqa: UP045
        c: Annotated[logging.Logger, "mine"],
        d: logging.Logger | logging.LoggerAdapter[Any],
        e: int | None = None,
    ) -> None: ...

    assert roles(f) == {"a": "context", "b": "message", "c": "logger", "d": "logger", "e": "body"}


def test_without_postponed_annotations() -> None:
    assert roles(plain.everything) == {"body": "body", "context": "context", "message": "message", "log": "logger"}


def test_names_that_only_the_type_checker_knows_are_enough_for_injection() -> None:
    assert roles(plain.only_for_checkers) == {
        "body": "body",
        "context": "context",
        "message": "message",
        "log": "logger",
        "adapter": "logger",
    }


def test_any_and_object_leave_the_body_as_it_is() -> None:
    def f(body: Any) -> None: ...
    def g(body: object) -> None: ...
    def h(body) -> None: ...  # type: ignore[no-untyped-def]

    assert [read_signature(each)[0].type_ for each in (f, g, h)] == [Any, Any, Any]


def test_an_annotation_that_cannot_be_resolved() -> None:
    def f(task: Hidden) -> None: ...

    with pytest.raises(
        HandlerError, match=r"test_signature\.py:\d+: function .*f'.*'Hidden' of parameter 'task'.*TYPE"
    ):
        read_signature(f)


def test_a_type_of_the_function_around_is_found_when_it_is_used() -> None:
    class Task: ...

    def f(task: Task) -> None:
        Task()

    assert read_signature(f)[0].type_ is Task


def test_a_variable_of_the_function_around_may_not_have_a_value_yet() -> None:
    def f(task: int) -> None:
        later()

    assert read_signature(f)[0].type_ is int

    def later() -> None: ...


def test_a_second_parameter_without_default() -> None:
    def f(task: int, user: str) -> None: ...

    with pytest.raises(HandlerError, match=r"cannot inject parameter 'user' \(str\); annotate it as Message") as caught:
        read_signature(f)
    assert caught.value.kind == "Invalid"


def test_variadic_parameters() -> None:
    def f(*args: int, **named: int) -> None: ...
    def g(task: int, *rest: int, context: Context) -> None: ...

    body = read_signature(f)[0]
    assert (body.role, body.is_variadic, len(read_signature(f))) == (Role.BODY, True, 1)
    assert roles(g) == {"task": "body", "rest": "extra", "context": "context"}


def test_a_keyword_only_body() -> None:
    def f(*, context: Context, task: int) -> None: ...

    assert roles(f) == {"context": "context", "task": "body"}
    assert not any(parameter.is_positional for parameter in read_signature(f))


def test_partials_leave_what_they_bind_alone() -> None:
    def f(client: str, task: int, context: Context, flag: bool = False) -> None: ...

    assert roles(functools.partial(f, "client")) == {"task": "body", "context": "context", "flag": "extra"}
    bound = functools.partial(functools.partial(f, flag=True), client="c")
    assert roles(bound) == {"task": "body", "context": "context"}


def test_methods_and_callable_objects() -> None:
    class Service:
        def method(self, task: int, log: logging.Logger) -> None: ...

        def __call__(self, task: int, context: Context) -> None: ...

    assert roles(Service().method) == {"task": "body", "log": "logger"}
    assert roles(Service()) == {"task": "body", "context": "context"}


def test_decorated_functions_keep_their_types() -> None:
    assert read_signature(plain.decorated)[0].type_ is plain.Local
    assert roles(plain.decorated) == {"body": "body", "context": "context"}


def test_an_unhashable_annotation_is_no_injection() -> None:
    def f(body: Any) -> None: ...

    f.__annotations__["body"] = [int]
    assert read_signature(f)[0].role is Role.BODY


def test_what_does_not_tell_its_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def __call__(self) -> None: ...

    def refuse(function: object) -> inspect.Signature:
        raise ValueError

    monkeypatch.setattr(inspect, "signature", refuse)
    with pytest.raises(HandlerError, match="wrap it in a def"):
        read_signature(Silent())


def test_describe() -> None:
    assert describe(plain.everything).startswith(f"{plain.__file__}:")
    assert describe(plain.everything).endswith("function 'everything'")
    assert describe(functools.partial(plain.everything, {})) == describe(plain.everything)
    assert describe(print) == "function 'print'"
