"""Python functions that take a batch: a list of bodies, each decoded by itself."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Container, Sequence
from typing import Any

from tasuki.contracts.codec import Codec
from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tasuki.handlers.body import make_decoder
from tasuki.handlers.python import PythonHandler
from tasuki.handlers.signature import Parameter, Role, describe, item_of, read_signature, result_of

_RESULTS = (Any, bool, type(None), object, Sequence, Awaitable, types.UnionType)
"""Results of a batch handler, beside lists; False is a failure of all."""


class PythonBatch(PythonHandler):
    """As PythonHandler; the first parameter is the list of the bodies, ``list[T]``, and each body becomes a T.

    A parameter that is annotated ``list[Message]`` gets the messages, in the order of the bodies.
    """

    def decoder(self, codec: Codec) -> Callable[[bytes], Any]:
        """How one body becomes an item of the list; see PythonHandler."""
        if not self.is_started:
            raise HandlerError(f"{self.id}: not started")
        for parameter in self._parameters:
            if parameter.role is Role.BODY:
                return make_decoder(codec, item_of(parameter.type_))
        return lambda data: None

    async def handle_batch(self, bodies: list[Any], context: Context) -> Any:
        """See Handler. An exception class in the list of results becomes an exception, as ``raise`` makes one of it."""
        result = await self.handle(bodies, context)
        return [_instance(each) for each in result] if isinstance(result, list | tuple) else result

    def _read(self, function: Callable[..., Any]) -> tuple[Parameter, ...]:
        parameters = super()._read(function)
        if problem := _problem(function, parameters):
            raise HandlerError(problem, kind="Invalid")
        return parameters


def _instance(result: Any) -> Any:
    return result() if isinstance(result, type) and issubclass(result, BaseException) else result


def problem_of_batch(function: Callable[..., Any], provided: Container[Any] = ()) -> str:
    """Why a function cannot take a batch; empty if it can."""
    try:
        return _problem(function, read_signature(function, provided))
    except HandlerError as error:
        return str(error)


def problem_of_result(function: Callable[..., Any]) -> str:
    """Why the annotated result of a batch handler means nothing; empty if it does, or says nothing."""
    result = result_of(function)
    kind = typing.get_origin(result) or result
    if kind in _RESULTS or not isinstance(kind, type) or issubclass(kind, list | tuple):
        return ""
    name = inspect.formatannotation(result)
    return (
        f"{describe(function)} returns {name}, but the result of a batch is nothing or a list with one result for each "
        f"body; annotate it as None or list[{name}], and return that"
    )


def _problem(function: Callable[..., Any], parameters: tuple[Parameter, ...]) -> str:
    for parameter in parameters:
        if parameter.role is Role.BODY and item_of(parameter.type_) is None:
            name = getattr(parameter.type_, "__name__", parameter.type_)
            return (
                f"{describe(function)}: parameter {parameter.name!r} is {name}, but a consumer with batch calls it "
                f"with a list of bodies; annotate it as list[{name}], or remove batch from the consumer"
            )
        if parameter.role is Role.MESSAGE:
            return (
                f"{describe(function)}: parameter {parameter.name!r} is one Message, but a consumer with batch calls "
                "it for many; annotate it as list[Message]"
            )
    return ""
