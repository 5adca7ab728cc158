"""From a body and a context to the arguments of a function, decided once and then as fast as can be."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tasuki.handlers.providing.supplied import provided
from tasuki.handlers.signature import Parameter, Role

Bound = Callable[[Any, Context], Any]
Convert = Callable[[Any], Any]
Arguments = tuple[list[Any], dict[str, Any]]

_GETTERS: dict[Role, Bound] = {
    Role.BODY: lambda body, context: body,
    Role.MESSAGE: lambda body, context: context.message,
    Role.MESSAGES: lambda body, context: context.messages,
    Role.CONTEXT: lambda body, context: context,
    Role.LOGGER: lambda body, context: context.logger,
}


def bind(function: Callable[..., Any], parameters: Sequence[Parameter]) -> Bound:
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


def _bind_any(function: Callable[..., Any], parameters: Sequence[Parameter]) -> Bound:
    positional = [_getter(each) for each in parameters if each.is_positional and not _is_rest(each)]
    named = {each.name: _getter(each) for each in parameters if not each.is_positional and each.role is not Role.EXTRA}

    def call(body: Any, context: Context) -> Any:
        keywords = {name: get(body, context) for name, get in named.items()}
        return function(*[get(body, context) for get in positional], **keywords)

    return call


def getter_of(parameter: Parameter) -> Bound:
    """What an injected parameter is given; a body for BODY."""
    if parameter.role is Role.PROVIDED:
        return lambda body, context: provided(context, parameter.type_)
    return _GETTERS[parameter.role]


def _is_rest(parameter: Parameter) -> bool:
    return parameter.is_variadic and parameter.role is Role.EXTRA


def _getter(parameter: Parameter) -> Bound:
    if parameter.role is Role.EXTRA:
        return lambda body, context: parameter.default
    return getter_of(parameter)


def fill(
    parameters: Sequence[Parameter], converts: dict[str, Convert], args: Sequence[Any], context: Context
) -> Arguments:
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
