"""Provider: a function that makes what handlers are given, read once from its signature."""

from __future__ import annotations

import contextlib
import inspect
import typing
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Container,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tasuki.handlers.signature import Parameter, Role, called, describe, is_async, read_parameters, read_result

Scope = Literal["process", "message"]
"""How long a made object is used: by all messages of a worker process, or by one run of one handler."""


_YIELDS = (Iterator, Generator, Iterable, AsyncIterator, AsyncGenerator, AsyncIterable)

_MANAGERS = (contextlib.AbstractContextManager, contextlib.AbstractAsyncContextManager)

_TOO_COMMON = (object, Any, None, type(None), bool, int, float, str, bytes, dict, list, tuple, set, frozenset)
"""Types of bodies and arguments: a provider of one would take all of their parameters."""

_INJECTED = (Role.PROVIDED, Role.LOGGER)

_OF_A_MESSAGE = (Role.CONTEXT, Role.MESSAGE, Role.MESSAGES)


@dataclass(frozen=True, slots=True)
class Provider:
    """A function, the type that it provides, and its ways: whether to await its call, and what to enter."""

    id: str
    scope: Scope
    type_: Any
    function: Callable[..., Any]
    """Its calls give the object, or a context manager of it."""
    parameters: tuple[Parameter, ...]
    is_called_async: bool
    enters: Literal["", "sync", "async"]
    place: str = ""
    """``file:line: function 'name'``."""

    @property
    def is_async(self) -> bool:
        """Whether only an ``async def`` can be given it."""
        return self.is_called_async or self.enters == "async"

    @property
    def needed(self) -> list[Any]:
        """The types that it is given by other providers."""
        return [parameter.type_ for parameter in self.parameters if parameter.role is Role.PROVIDED]


def type_of(function: Callable[..., Any]) -> Any:
    """The type that a function provides: its result's, or what it yields.

    Raises:
        HandlerError: it says none, or one that cannot tell a provided parameter from others.
    """
    if isinstance(function, type):
        return function
    try:
        type_ = read_result(function)
    except Exception as error:
        raise _wrong(
            function,
            f"cannot resolve the annotation of its result ({error})",
            "define or import the type at the top of its module, not under TYPE_CHECKING or inside a function",
        ) from error
    if type_ is inspect.Signature.empty:
        raise _wrong(function, "does not say what it provides", "annotate its result: def session() -> Session")
    origin = get_origin(type_)
    if (_is_generator(function) and origin in _YIELDS) or origin in _MANAGERS:
        type_ = get_args(type_)[0]
    elif _is_generator(function):
        raise _wrong(function, f"yields, and its result is annotated as {_name(type_)}", "annotate it as Iterator[…]")
    _check_type(function, type_)
    return type_


def read_provider(id: str, function: Callable[..., Any], scope: Scope, provided: Container[Any]) -> Provider:
    """The provider that a function is; ``provided``: the types of all providers.

    Raises:
        HandlerError: it cannot be one; the message says why and what to change.
    """
    type_, parameters = type_of(function), read_parameters(function, provided)
    for parameter in parameters:
        _check_parameter(function, scope, parameter)
    make, enters = function, _entering(function)
    if inspect.isgeneratorfunction(called(function)):
        make = contextlib.contextmanager(function)
    elif inspect.isasyncgenfunction(called(function)):
        make = contextlib.asynccontextmanager(function)
    own = tuple(each for each in parameters if each.role is not Role.EXTRA)
    return Provider(id, scope, type_, make, own, is_async(function), enters, describe(function))


def _entering(function: Callable[..., Any]) -> Literal["", "sync", "async"]:
    inner = inspect.unwrap(called(function))  # behind @contextmanager
    if inspect.isgeneratorfunction(inner):
        return "sync"
    if inspect.isasyncgenfunction(inner):
        return "async"
    origin = None if isinstance(function, type) else get_origin(read_result(function))
    return "" if origin not in _MANAGERS else "sync" if origin is contextlib.AbstractContextManager else "async"


def _is_generator(function: Callable[..., Any]) -> bool:
    inner = inspect.unwrap(called(function))
    return inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner)


def _check_type(function: Callable[..., Any], type_: Any) -> None:
    try:
        hash(type_)
    except TypeError:
        raise _wrong(function, f"provides {type_!r}, which is no type", "annotate its result with a class") from None
    if get_origin(type_) is not typing.Annotated and (get_origin(type_) or type_) in _TOO_COMMON:
        raise _wrong(
            function,
            f"provides {_name(type_)}, which bodies and arguments are too",
            f"give it its own type: a class, a NewType, or Annotated[{_name(type_)}, …]",
        )


def _check_parameter(function: Callable[..., Any], scope: Scope, parameter: Parameter) -> None:
    if parameter.role in _OF_A_MESSAGE and scope == "process":
        raise _wrong(
            function,
            f"is made once for all messages, but its parameter {parameter.name!r} is the {parameter.role.value} of one",
            'remove it, or give the provider scope="message"',
        )
    if parameter.role is Role.EXTRA and not (parameter.has_default or parameter.is_variadic):
        raise _wrong(
            function,
            f"has a parameter {parameter.name!r} ({_name(parameter.type_)}) that nothing provides",
            "declare a provider of that type with @app.provide, or give the parameter a default",
        )
    if parameter.role in _INJECTED + _OF_A_MESSAGE and not parameter.is_named:
        raise _wrong(
            function, f"takes parameter {parameter.name!r} by position only", "remove the '/' from its parameters"
        )


def _wrong(function: Callable[..., Any], problem: str, remedy: str) -> HandlerError:
    return HandlerError(f"{describe(function)} {problem}; {remedy}", kind="Invalid")


def _name(type_: Any) -> str:
    return "no type" if type_ is Any else inspect.formatannotation(type_)


class Supplied(Context):
    """The same context, and the objects provided to the function, by their types."""

    __slots__ = ("provided",)

    def __init__(self, context: Context, provided: Mapping[Any, Any]) -> None:
        super().__init__(context.delivery, context._settling, context._reach)
        self.provided = provided


def provided(context: Context, type_: Any) -> Any:
    """The object of a type, provided to the function that runs in this context."""
    assert isinstance(context, Supplied)  # the handler runs functions with provided parameters in no other
    return context.provided[type_]
