"""The body and the injected parameters of a Python function, decided once from its signature."""

from __future__ import annotations

import functools
import inspect
import logging
import re
import sys
import types
import typing
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Annotated, Any

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tasuki.handlers.body import check_type
from tasuki.message import Message


class Role(Enum):
    """What a parameter is given."""

    BODY = "body"
    MESSAGE = "message"
    MESSAGES = "messages"
    CONTEXT = "context"
    LOGGER = "logger"
    PROVIDED = "provided"
    """What the app provides for its type."""
    EXTRA = "extra"
    """Nothing by a message; further arguments of a call."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter with its role; ``type_`` is what a body or argument is converted to, ``Any``: it stays as it is.

    Of a provided one ``type_`` is the type that its provider is known by.
    """

    name: str
    role: Role
    type_: Any
    is_positional: bool
    is_variadic: bool = False
    """``*args``: takes any number, of which the body is the first."""
    is_named: bool = True
    """Whether a call may give it by name."""
    default: Any = inspect.Parameter.empty

    @property
    def has_default(self) -> bool:
        """Whether it may be left out."""
        return self.default is not inspect.Parameter.empty


_INJECTED: Mapping[Any, Role] = {
    Message: Role.MESSAGE,
    Context: Role.CONTEXT,
    logging.Logger: Role.LOGGER,
    logging.LoggerAdapter: Role.LOGGER,
}
_CLASSES: Mapping[Role, Any] = {
    Role.MESSAGE: Message,
    Role.MESSAGES: list,
    Role.CONTEXT: Context,
    Role.LOGGER: (logging.Logger, logging.LoggerAdapter),
}
_LISTS = (list, Sequence, Collection, Iterable)
# An import under TYPE_CHECKING cannot be resolved at run time; these names are enough.
_NAMED = re.compile(
    r"(?:Optional\[)?(?:\w+\.)*(Message|Context|Logger|LoggerAdapter)(?:\[Any\])?(?:\])?(?:\s*\|\s*None)?"
)
_ROLES = {"Message": Role.MESSAGE, "Context": Role.CONTEXT, "Logger": Role.LOGGER, "LoggerAdapter": Role.LOGGER}


def read_parameters(function: Callable[..., Any], provided: Container[Any] = ()) -> tuple[Parameter, ...]:
    """All parameters of a function with their types, in order: injected ones, and EXTRA for the others.

    ``provided``: the types that the app provides.

    Parameters that ``functools.partial`` has bound by keyword, and ``**keywords``, are left alone.

    Raises:
        HandlerError: an annotation that cannot be resolved.
    """
    bound = _bound_names(function)
    parameters = []
    for raw in _signature(function).parameters.values():
        if raw.kind is raw.VAR_KEYWORD or raw.name in bound:
            continue
        role, type_ = _role(f"parameter {raw.name!r}", raw.annotation, function, provided)
        is_variadic = raw.kind is raw.VAR_POSITIONAL
        parameters.append(
            Parameter(
                raw.name,
                role,
                type_,
                is_positional=raw.kind is not raw.KEYWORD_ONLY,
                is_variadic=is_variadic,
                is_named=raw.kind in (raw.POSITIONAL_OR_KEYWORD, raw.KEYWORD_ONLY),
                default=raw.default,
            )
        )
    return tuple(parameters)


def read_signature(function: Callable[..., Any], provided: Container[Any] = ()) -> tuple[Parameter, ...]:
    """The parameters of a function that a handler fills, in order; the first one that is not injected is the body.

    Raises:
        HandlerError: a further parameter without default, or an annotation that cannot be resolved.
    """
    _refuse_method(function)
    parameters = list(read_parameters(function, provided))
    extra = [number for number, parameter in enumerate(parameters) if parameter.role is Role.EXTRA]
    if extra:
        parameters[extra[0]] = replace(parameters[extra[0]], role=Role.BODY)
    for parameter in (parameters[number] for number in extra[1:]):
        if not (parameter.has_default or parameter.is_variadic):
            raise HandlerError(
                f"{describe(function)}: cannot inject parameter {shown(parameter)}; annotate it as Message, Context, "
                "Logger or a type that @app.provide provides, or give it a default (the first parameter is the body; a "
                "function with several arguments is a task: @queue.task)",
                kind="Invalid",
            )
    return tuple(parameters)


def _refuse_method(function: Callable[..., Any]) -> None:
    """Raise HandlerError for a function of a class, whose ``self`` no message fills."""
    outer = getattr(function, "__qualname__", "").rpartition(".")[0]
    first = next(iter(_signature(function).parameters), "")
    if first in ("self", "cls") and outer and not outer.endswith("<locals>"):
        owner = outer.rpartition(".")[2]
        raise HandlerError(
            f"{describe(function)}: it is a method of the class {owner}, whose {first!r} no message fills; declare a "
            f"function outside of the class, or a method of an object: queue.consumer({owner}().{function.__name__})",
            kind="Invalid",
        )


def read_arguments(function: Callable[..., Any], provided: Container[Any] = ()) -> tuple[Parameter, ...]:
    """The parameters of a task: each is injected or is an argument with a name.

    Raises:
        HandlerError: ``*args`` or ``**kwargs``, or an annotation that cannot be resolved.
    """
    _refuse_method(function)
    for raw in _signature(function).parameters.values():
        if raw.kind in (raw.VAR_POSITIONAL, raw.VAR_KEYWORD):
            stars = "*" if raw.kind is raw.VAR_POSITIONAL else "**"
            raise HandlerError(
                f"{describe(function)}: a task cannot take {stars}{raw.name}: its arguments travel by name and are "
                "checked before they are sent; give each one a parameter, or take a list or dict in one",
                kind="Invalid",
            )
    return read_parameters(function, provided)


def result_of(function: Callable[..., Any]) -> Any:
    """The type of a function's result, as far as it is known; Any: unknown."""
    try:
        annotation = read_result(function)
    except Exception:
        return Any
    return Any if annotation is inspect.Signature.empty else annotation


def read_result(function: Callable[..., Any]) -> Any:
    """The annotation of a function's result, ``inspect.Signature.empty`` without one. Raises what resolving it does."""
    annotation = _signature(function).return_annotation
    return _evaluate(annotation, function) if isinstance(annotation, str) else annotation


def body_of(function: Callable[..., Any], provided: Container[Any] = ()) -> Any:
    """The type of the body that a function reads; Any: any body, or a target that only a start can examine."""
    if isinstance(function, type) or not callable(function):
        return Any
    try:
        types = [parameter.type_ for parameter in read_signature(function, provided) if parameter.role is Role.BODY]
        for type_ in types:
            check_type(type_)
    except HandlerError:
        return Any
    return types[0] if types else Any


def item_of(type_: Any) -> Any:
    """The type of the items of a list type; Any: unknown, None: it is no list."""
    if type_ is Any or type_ in _LISTS:
        return Any
    return typing.get_args(type_)[0] if typing.get_origin(type_) in _LISTS else None


def check_parameter(function: Callable[..., Any], parameter: Parameter) -> None:
    """Refuse a parameter whose type no body can become. Raises HandlerError that names both."""
    try:
        check_type(parameter.type_)
    except HandlerError as error:
        problem = f"{describe(function)}: parameter {parameter.name!r}: {error}"
        raise HandlerError(problem, kind="Invalid") from error


def default_problem(function: Callable[..., Any], parameter: Parameter) -> str:
    """Why an injected parameter cannot have its default, and the remedy; empty: it can."""
    default = parameter.default
    if parameter.role in (Role.BODY, Role.EXTRA) or not parameter.has_default or default is None:
        return ""
    wanted = parameter.type_ if parameter.role is Role.PROVIDED else _CLASSES[parameter.role]
    if isinstance(wanted, type | tuple) and isinstance(default, wanted):
        return ""
    return (
        f"{describe(function)}: parameter {parameter.name!r} is injected, but its default {default!r} is of another "
        "type; remove the default, or make it None"
    )


def shown(parameter: Parameter) -> str:
    """The name of a parameter, with its annotation if it has one."""
    type_ = "" if parameter.type_ is Any else f" ({inspect.formatannotation(parameter.type_)})"
    return f"{parameter.name!r}{type_}"


def describe(function: Callable[..., Any]) -> str:
    """``file:line: function 'name'``, as far as known."""
    file, line = place_of(function)
    name = getattr(_inner(function), "__qualname__", None) or type(function).__qualname__
    place = f"{file}:{line}: " if file else ""
    return f"{place}{'class' if isinstance(function, type) else 'function'} {name!r}"


def place_of(function: Any) -> tuple[str, int]:
    """The file and the line of a function's source; of a class of its first line, as far as known: ("", 0)."""
    code = getattr(_inner(function), "__code__", None) if callable(function) else None
    if code is not None:
        return code.co_filename, code.co_firstlineno
    try:
        return inspect.getsourcefile(function) or "", inspect.getsourcelines(function)[1]
    except (TypeError, OSError):
        return "", 0


def called(function: Any) -> Any:
    """What runs when it is called, behind partials and objects with ``__call__``."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) or isinstance(function, type) else function.__call__


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a call of it is to be awaited."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called(function))


def is_generator(function: Callable[..., Any]) -> bool:
    """Whether a call of it gives a generator, of either kind."""
    runs = called(function)
    return inspect.isgeneratorfunction(runs) or inspect.isasyncgenfunction(runs)


def _inner(function: Any) -> Any:
    """The plain function behind partials, decorators, methods and objects with ``__call__``."""
    while isinstance(function, functools.partial):
        function = function.func
    if not (inspect.isroutine(function) or isinstance(function, type)):
        function = function.__call__
    function = inspect.unwrap(function)
    return getattr(function, "__func__", function)


def _bound_names(function: Any) -> set[str]:
    names: set[str] = set()
    while isinstance(function, functools.partial):
        names |= set(function.keywords)
        function = function.func
    return names


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except ValueError as error:
        # Some functions written in C have no signature.
        raise HandlerError(f"{describe(function)} has no readable signature; wrap it in a def") from error


def _role(what: str, annotation: Any, function: Any, provided: Container[Any]) -> tuple[Role, Any]:
    if annotation is inspect.Parameter.empty:
        return Role.EXTRA, Any
    resolved = annotation
    if isinstance(annotation, str):
        try:
            resolved = _evaluate(annotation, function)
        except Exception as error:
            named = _NAMED.fullmatch(annotation.strip())
            if named:
                return _ROLES[named[1]], None
            raise HandlerError(
                f"{describe(function)}: cannot resolve the annotation {annotation!r} of {what} ({error}); "
                "define or import it at the top of its module, not under TYPE_CHECKING or inside a function",
                kind="Invalid",
            ) from error
    if (key := _provided(resolved, provided)) is not None:
        return Role.PROVIDED, key
    role = _injected(resolved)
    return (role, None) if role else (Role.EXTRA, Any if resolved is object else resolved)


def _evaluate(annotation: str, function: Any) -> Any:
    inner = _inner(function)
    scope = dict(getattr(inner, "__globals__", None) or vars(sys.modules.get(getattr(inner, "__module__", ""), types)))
    cells = getattr(inner, "__closure__", None) or ()
    for name, cell in zip(getattr(getattr(inner, "__code__", None), "co_freevars", ()), cells, strict=True):
        try:
            scope[name] = cell.cell_contents
        except ValueError:
            pass  # not assigned yet
    value: Any = annotation
    # An annotation written as text in a module with postponed annotations is text within text.
    while isinstance(value, str):
        value = eval(value, scope)  # noqa: S307 - the author's own code
    return value


def _provided(annotation: Any, provided: Container[Any]) -> Any:
    """The provided type that an annotation asks for, also as ``Annotated`` and optional; None: none."""
    if provided == ():
        return None
    try:
        if annotation in provided:
            return annotation
    except TypeError:  # an unhashable annotation
        return None
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _provided(typing.get_args(annotation)[0], provided)
    if origin in (typing.Union, types.UnionType):
        inner = [choice for choice in typing.get_args(annotation) if choice is not type(None)]
        return _provided(inner[0], provided) if len(inner) == 1 else None
    return None


def _injected(annotation: Any) -> Role | None:
    origin = typing.get_origin(annotation)
    if origin is list and typing.get_args(annotation) == (Message,):
        return Role.MESSAGES
    if origin is Annotated:
        return _injected(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        inner = [choice for choice in typing.get_args(annotation) if choice is not type(None)]
        roles = {_injected(choice) for choice in inner}
        return roles.pop() if len(roles) == 1 else None
    try:
        return _INJECTED.get(origin or annotation)
    except TypeError:  # an unhashable annotation is none of ours
        return None
