"""The arguments of a function, made from a body and a context; of a task, also by its publisher."""

from __future__ import annotations

import inspect
import re
from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

from tasuki.contracts.codec import Codec
from tasuki.contracts.handler import Context
from tasuki.errors import BodyTypeError, HandlerError, InvalidBodyError, UnknownArgumentError
from tasuki.handlers.body import make_converter, make_reader, uses_pydantic
from tasuki.handlers.providing.provider import provided
from tasuki.handlers.signature import Parameter, Role, check_parameter, read_arguments

Caller = Callable[[Any, Context], Any]

Convert = Callable[[Any], Any]

CallArguments = tuple[list[Any], dict[str, Any]]


_GETTERS: dict[Role, Caller] = {
    Role.BODY: lambda body, context: body,
    Role.MESSAGE: lambda body, context: context.message,
    Role.MESSAGES: lambda body, context: context.messages,
    Role.CONTEXT: lambda body, context: context,
    Role.LOGGER: lambda body, context: context.logger,
}


def bind(function: Callable[..., Any], parameters: Sequence[Parameter]) -> Caller:
    """``function`` as a function of a body and a context."""
    used = list(parameters)
    while used and used[-1].role is Role.EXTRA:
        used.pop()
    roles = [parameter.role for parameter in used]
    if all(parameter.is_positional for parameter in used):
        if not roles:
            return lambda body, context: function()
        if roles == [Role.BODY]:
            return lambda body, context: function(body)
        if roles == [Role.BODY, Role.CONTEXT]:
            return function
    return _bind_any(function, used)


def _bind_any(function: Callable[..., Any], parameters: Sequence[Parameter]) -> Caller:
    positional = [_getter(each) for each in parameters if each.is_positional and not _is_rest(each)]
    named = {each.name: _getter(each) for each in parameters if not each.is_positional and each.role is not Role.EXTRA}

    def call(body: Any, context: Context) -> Any:
        keywords = {name: get(body, context) for name, get in named.items()}
        return function(*[get(body, context) for get in positional], **keywords)

    return call


def getter_of(parameter: Parameter) -> Caller:
    """What an injected parameter is given; a body for BODY."""
    if parameter.role is Role.PROVIDED:
        return lambda body, context: provided(context, parameter.type_)
    return _GETTERS[parameter.role]


def _is_rest(parameter: Parameter) -> bool:
    return parameter.is_variadic and parameter.role is Role.EXTRA


def _getter(parameter: Parameter) -> Caller:
    if parameter.role is Role.EXTRA:
        return lambda body, context: parameter.default
    return getter_of(parameter)


def fill(
    parameters: Sequence[Parameter], converts: dict[str, Convert], args: Sequence[Any], context: Context
) -> CallArguments:
    """The positional and the named arguments for a call with any number of arguments.

    ``converts``: by parameter name, how its argument becomes its type. A missing argument is the default of its
    parameter, or None.

    Raises:
        HandlerError: more arguments than parameters.
        InvalidBodyError: an argument that does not fit.
    """
    rest = deque(args)
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.is_variadic:
            positional += [converts[parameter.name](value) for value in rest]
            rest.clear()
        elif parameter.is_positional:
            positional.append(_value(parameter, converts, rest, context))
        else:
            named[parameter.name] = _value(parameter, converts, rest, context)
    if rest:
        raise HandlerError(f"called with {len(args)} arguments; it takes {len(args) - len(rest)}", kind="Invalid")
    return positional, named


def _value(parameter: Parameter, converts: dict[str, Convert], rest: deque[Any], context: Context) -> Any:
    if parameter.role not in (Role.BODY, Role.EXTRA):
        return getter_of(parameter)(None, context)
    if not rest and parameter.has_default:
        return parameter.default
    return converts[parameter.name](rest.popleft() if rest else None)


_KEPT = frozenset({str, int, bool})
"""What no codec changes, so that it needs no annotation."""

_PLAIN = (*_KEPT, float, type(None))

_MOST_SHOWN = 80
"""Characters of a signature in an error."""

_UNKNOWN = re.compile(r"contains unknown field `(.*)`$", re.DOTALL)
"""How msgspec names an unknown argument; of a field further inside it says the path behind the name."""


class Bound(dict[str, Any]):
    """Arguments of a call by name, each of which fits its annotation.

    ``untyped``: the names of those that have none, and could be changed by a codec.
    """

    untyped: Sequence[str] = ()


class TaskArguments:
    """What a function takes beside injected parameters: arguments by name, as the body of a message.

    ``provided``: the types that the app provides.

    Raises:
        HandlerError: the function cannot be a task; the message says why and what to change.
    """

    def __init__(self, function: Callable[..., Any], provided: Container[Any] = ()) -> None:
        self.parameters = read_arguments(function, provided)
        self._own = {each.name: each for each in self.parameters if each.role is Role.EXTRA}
        self._required = {name for name, each in self._own.items() if not each.has_default}
        self._positional = [each.name for each in self._own.values() if each.is_positional]
        self._by_name = {name for name, each in self._own.items() if each.is_named}
        for parameter in self._own.values():
            check_parameter(function, parameter)
        self._struct = _struct(self._own.values())
        self._converts = {
            name: make_converter(each.type_) for name, each in self._own.items() if uses_pydantic(each.type_)
        }
        self._fitting = {name: _fitting(each.type_) for name, each in self._own.items()}
        self._readers: dict[str, Callable[[Any], Any]] = {}

    @property
    def names(self) -> list[str]:
        """The names of the arguments, in order."""
        return list(self._own)

    @property
    def defaults(self) -> dict[str, Any]:
        """The arguments that may be left out, with what they are then."""
        return {name: each.default for name, each in self._own.items() if each.has_default}

    def decoder(self, codec: Codec) -> Callable[[bytes], dict[str, Any]]:
        """How a body becomes arguments by name; those that it leaves out are left to the function's defaults.

        It raises what ``Codec.decoder`` raises: InvalidBodyError for an argument that is unknown, missing or unfit.
        """
        decode, names, converts = codec.decoder(self._struct), tuple(self._own), self._converts

        def arguments(data: bytes) -> dict[str, Any]:
            try:
                read = decode(data)
            except InvalidBodyError as error:
                raise self._of_another_version(error) from error.__cause__
            given = {name: value for name in names if (value := getattr(read, name)) is not msgspec.UNSET}
            for name in converts.keys() & given.keys() if converts else ():
                given[name] = converts[name](given[name])
            return given

        return arguments

    def _of_another_version(self, error: InvalidBodyError) -> InvalidBodyError:
        """The same error; one of its own kind for an unknown argument, which a worker of another version may have."""
        if (unknown := _UNKNOWN.search(str(error))) is None:
            return error
        text = f"the task has no parameter {unknown[1]!r}; its arguments here are ({self._signature()})"
        return UnknownArgumentError(text, kind="Invalid")

    def caller(self, function: Callable[..., Any]) -> Callable[[dict[str, Any], Context], Any]:
        """``function``, which has these parameters, as a function of the arguments by name and a context."""
        first = [each for each in self.parameters if each.is_positional and not each.is_named]
        injected = {
            each.name: getter_of(each) for each in self.parameters if each.role is not Role.EXTRA and each.is_named
        }
        if first:
            return self._caller_by_position(function, first, injected)
        if not injected:
            return lambda arguments, context: function(**arguments)

        def call(arguments: dict[str, Any], context: Context) -> Any:
            return function(**arguments, **{name: get(arguments, context) for name, get in injected.items()})

        return call

    @staticmethod
    def _caller_by_position(
        function: Callable[..., Any], first: Sequence[Parameter], injected: Mapping[str, Callable[[Any, Context], Any]]
    ) -> Callable[[dict[str, Any], Context], Any]:
        def call(arguments: dict[str, Any], context: Context) -> Any:
            named = {**arguments, **{name: get(arguments, context) for name, get in injected.items()}}
            values = []
            for parameter in first:
                if parameter.role is not Role.EXTRA:
                    values.append(getter_of(parameter)(arguments, context))
                else:
                    values.append(named.pop(parameter.name, parameter.default))
            return function(*values, **named)

        return call

    def bind(self, call: str, args: Sequence[Any], named: Mapping[str, Any]) -> Bound:
        """The arguments of a call by name, each of which fits its annotation. ``call`` names it in errors.

        Raises:
            BodyTypeError: an argument is missing, unknown, given twice or of another type.
        """
        given = Bound(zip(self._positional, args, strict=False))
        if len(args) > len(self._positional):
            raise self._refused(call, f"takes {len(self._positional)} arguments by position, not {len(args)}")
        if named:
            if not self._by_name.issuperset(named):
                raise self._refused(call, self._unknown(sorted(named.keys() - self._by_name)[0]))
            if twice := sorted(given.keys() & named):
                raise self._refused(call, f"got parameter {twice[0]!r} twice, by position and by name")
            given.update(named)
        if not given.keys() >= self._required:
            missing = next(name for name in self._own if name in self._required and name not in given)
            raise self._refused(call, f"lacks {_shown(self._own[missing])}")
        for name, value in given.items():
            if type(value) in self._fitting[name]:
                continue
            if self._own[name].type_ is Any:
                given.untyped = [*given.untyped, name]
            elif value is not msgspec.UNSET:
                self._check(call, self._own[name], value)
        return given

    def bind_rest(self, call: str, args: Sequence[Any], named: Mapping[str, Any]) -> Bound:
        """As ``bind``, without the first argument, which comes later. The function has one."""
        first = self.names[0]
        if first in self._positional:
            body = self.bind(call, (msgspec.UNSET, *args), named)
        else:
            body = self.bind(call, args, {**named, first: msgspec.UNSET})
        del body[first]
        body.untyped = [name for name in body.untyped if name != first]
        return body

    def _check(self, call: str, parameter: Parameter, value: Any) -> None:
        read = self._readers.get(parameter.name)
        if read is None:
            read = self._readers[parameter.name] = make_reader(parameter.type_)
        try:
            read(value)
        except HandlerError as error:
            why = str(error).removeprefix("the body does not fit: ")
            what = f"this {type(value).__name__} as {_shown(parameter)}"
            raise self._refused(call, f"cannot take {what}: {why}") from None

    def _unknown(self, name: str) -> str:
        for parameter in self.parameters:
            if parameter.name == name:
                how = "is injected by the worker" if parameter.role is not Role.EXTRA else "is taken by position only"
                return f"cannot take {name!r} by name: it {how}"
        return f"has no parameter {name!r}"

    def _refused(self, call: str, problem: str) -> BodyTypeError:
        return BodyTypeError(f"{call} {problem}; nothing was sent; its arguments are ({self._signature()})")

    def _signature(self) -> str:
        own = ", ".join(map(_declared, self._own.values()))
        return own if len(own) <= _MOST_SHOWN else own[:_MOST_SHOWN] + "…"


def _struct(parameters: Any) -> type[msgspec.Struct]:
    fields: list[Any] = []
    for parameter in parameters:
        type_ = Any if uses_pydantic(parameter.type_) else parameter.type_
        if parameter.has_default:
            fields.append((parameter.name, Union[type_, msgspec.UnsetType], msgspec.UNSET))  # noqa: UP007 - at run time
        else:
            fields.append((parameter.name, type_))
    return msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True)


def _fitting(type_: Any) -> frozenset[type]:
    """The classes whose own values fit a type unread, each of them a plain one; a subclass is read."""
    if type_ is Any:
        return _KEPT
    types = get_args(type_) if get_origin(type_) in (Union, UnionType) else (type_,)
    return frozenset(types) if all(each in _PLAIN for each in types) else frozenset()


def _shown(parameter: Parameter) -> str:
    return f"parameter {parameter.name!r} ({_type_name(parameter.type_)})"


def _declared(parameter: Parameter) -> str:
    default = f" = {parameter.default!r}" if parameter.has_default else ""
    return f"{parameter.name}: {_type_name(parameter.type_)}{default}"


def _type_name(type_: Any) -> str:
    return "any value" if type_ is Any else inspect.formatannotation(type_)
