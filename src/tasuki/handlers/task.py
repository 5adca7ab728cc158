"""Python functions as tasks, whose arguments are the body of a message, and as ``on_give_up``."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from tasuki.contracts.codec import Codec
from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tasuki.handlers.arguments import Arguments, Caller, getter_of
from tasuki.handlers.python import PythonHandler, refuse_generator
from tasuki.handlers.signature import Parameter, Role, describe, read_arguments

ERROR = "error"
"""The parameter of ``on_give_up`` that gets the error."""


class PythonTask(PythonHandler):
    """As PythonHandler; the body is ``{parameter: value}``, and each parameter is an argument or injected."""

    _arguments: Arguments | None = None

    def decoder(self, codec: Codec) -> Callable[[bytes], Any]:
        """How bodies become arguments by name; see PythonHandler."""
        if self._arguments is None:
            raise HandlerError(f"{self.id}: not started")
        return self._arguments.decoder(codec)

    def all_arguments(self, body: Any) -> Any:
        """The body with the defaults of what it leaves out."""
        return body if self._arguments is None else {**self._arguments.defaults, **body}

    def _read(self, function: Callable[..., Any]) -> tuple[Parameter, ...]:
        self._arguments = Arguments(function, self._provided)
        return self._arguments.parameters

    def _bound(self, function: Callable[..., Any]) -> Caller:
        assert self._arguments is not None
        return self._arguments.caller(function)


class PythonGiveUp(PythonHandler):
    """A function that is called when a task is given up: it takes arguments of the task by name, and ``error``."""

    async def give_up(self, arguments: Any, error: BaseException, context: Context) -> None:
        """See Handler."""
        await self.handle({**arguments, ERROR: error}, context)

    def _read(self, function: Callable[..., Any]) -> tuple[Parameter, ...]:
        return read_arguments(function, self._provided)

    def _bound(self, function: Callable[..., Any]) -> Caller:
        own = [(each.name, each.has_default) for each in self._parameters if each.role is Role.EXTRA]
        injected = {each.name: getter_of(each) for each in self._parameters if each.role is not Role.EXTRA}

        def call(body: dict[str, Any], context: Context) -> Any:
            given = {name: body[name] for name, _ in own if name in body}
            if missing := [name for name, has_default in own if not (has_default or name in body)]:
                raise HandlerError(f"{describe(function)}: the task has no parameter {missing[0]!r}", kind="Invalid")
            return function(**given, **{name: get(body, context) for name, get in injected.items()})

        return call


def problem_of_task(function: Callable[..., Any], provided: Container[Any] = ()) -> str:
    """Why a function cannot be a task; empty if it can."""
    try:
        refuse_generator(function)
        Arguments(function, provided)
    except HandlerError as error:
        return str(error)
    return ""


def problem_of_give_up(function: Callable[..., Any], task: Callable[..., Any], provided: Container[Any] = ()) -> str:
    """Why a function cannot be called when a task is given up; empty if it can."""
    try:
        own = {each.name: each for each in read_arguments(function, provided) if each.role is Role.EXTRA}
        known = Arguments(task, provided).names
    except HandlerError as error:
        return str(error)
    if ERROR in known:
        return f"the task has a parameter {ERROR!r} itself, so on_give_up cannot get its error by that name; rename it"
    for name, parameter in own.items():
        if not parameter.is_named:
            return f"{describe(function)}: parameter {name!r} must be one that can be given by name; remove the '/'"
        if name not in (*known, ERROR) and not parameter.has_default:
            what = ", ".join([*known, ERROR])
            return f"{describe(function)}: cannot fill parameter {name!r}; it may name {what}, and injected parameters"
    return ""
