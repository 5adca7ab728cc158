"""PythonHandler: a plain Python function as a handler, also for batches."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Container, Coroutine, Sequence
from pathlib import Path
from typing import Any

from tasuki.contracts.codec import Codec
from tasuki.contracts.context import Around
from tasuki.contracts.handler import Context, Handler, Interrupted
from tasuki.contracts.state.jobs import Suspended, suspended_in
from tasuki.errors import HandlerError
from tasuki.handlers.arguments import Caller, Convert, bind, fill
from tasuki.handlers.body import make_converter, make_decoder
from tasuki.handlers.load import load_path, load_source, prepare
from tasuki.handlers.providing.providers import Providers, Supply
from tasuki.handlers.signature import (
    Parameter,
    Role,
    check_parameter,
    describe,
    is_async,
    is_generator,
    item_of,
    read_signature,
    result_of,
)
from tasuki.handlers.threads import Threads, is_from_outside, refuse_exit, run_on
from tasuki.system import signals

Run = Callable[[Any, Context], Coroutine[Any, Any, Any]]


_PLAIN = (bool, int, float, str, bytes, dict, list, tuple)
"""Results that certainly need not be run on."""


class PythonHandler(Handler):
    """Runs an ``async def`` on the loop, a ``def`` in one of ``threads`` threads.

    The first parameter is the body, converted to its annotation; parameters annotated ``Message``, ``Context`` or
    ``Logger`` are injected wherever they stand. A function without a body parameter takes any body, undecoded.

    Exactly one of ``target``, ``import_path`` (``package.module:function``) and ``source`` (a file, with ``method``)
    says which function. ``threads`` is how many may run at once: the consumer's concurrency. Parameters of the types
    that ``providers`` provide are injected too. The function that ``around`` makes of it is called in its place, in the
    same thread.
    """

    def __init__(
        self,
        id: str,
        *,
        target: Callable[..., Any] | None = None,
        import_path: str | None = None,
        source: Path | None = None,
        method: str | None = None,
        threads: int = 1,
        providers: Providers | None = None,
        around: Around | None = None,
    ) -> None:
        super().__init__(id)
        self._around = around
        self._target = target
        self._import_path = import_path
        self._source = source
        self._method = method
        self._threads = Threads(f"tasuki-{id}", threads, around)
        self._providers = providers
        self._provided: Container[Any] = ()
        self._parameters: tuple[Parameter, ...] = ()
        self._converts: dict[str, Convert] = {}
        self._called: Run = self._refuse
        self._run: Run = self._refuse

    async def start(self) -> None:
        """Import the function and read its signature.

        Raises:
            HandlerNotFoundError: there is no such function.
            HandlerError: it cannot be a handler; the message says why and what to change.
        """
        function = prepare(self._load(), self.id)
        refuse_generator(function)
        self._provided = () if self._providers is None else self._providers.types
        self._parameters = parameters = self._read(function)
        self.needs_context = any(parameter.role not in (Role.BODY, Role.EXTRA) for parameter in parameters)
        own = [each for each in parameters if each.role is not Role.PROVIDED]
        self._converts = {parameter.name: make_converter(parameter.type_) for parameter in own}
        supply = None if self._providers is None else self._providers.supply(function, parameters)
        self._called = self._runner(function, self._filled(function), self._threads.run, supply)
        self._run = self._runner(function, self._bound(function), self._threads.handle, supply)

    def add_places(self, count: int) -> None:
        """Have more threads, or fewer."""
        self._threads.add(count)

    async def stop(self) -> None:
        """Let the threads end."""
        self._threads.close()

    def decoder(self, codec: Codec) -> Callable[[bytes], Any]:
        """How bodies become the type of the first parameter.

        Raises:
            HandlerError: the handler was not started: it does not know its function yet.
        """
        if not self.is_started:
            raise HandlerError(f"{self.id}: not started")
        for parameter in self._parameters:
            if parameter.role is Role.BODY:
                return make_decoder(codec, parameter.type_)
        return lambda data: None

    @property
    def is_started(self) -> bool:
        """Whether the function is known."""
        return self._run != self._refuse

    def handle(self, body: Any, context: Context) -> Coroutine[Any, Any, Any]:
        """Call the function; see Handler. SystemExit and its like become a HandlerError."""
        return self._run(body, context)

    async def call(self, args: Sequence[Any], context: Context) -> Any:
        """Call the function; the arguments are converted to their annotations.

        Raises:
            InvalidBodyError: one does not fit.
            HandlerError: there are too many.
        """
        return await self._called(args, context)

    def _read(self, function: Callable[..., Any]) -> tuple[Parameter, ...]:
        """The parameters of the function. Raises HandlerError: it cannot be called with a body."""
        return _checked(function, self._provided)

    def _bound(self, function: Callable[..., Any]) -> Caller:
        """The function as one of a body and a context."""
        return bind(function, self._parameters)

    def _filled(self, function: Callable[..., Any]) -> Caller:
        """The function as one of a sequence of arguments and a context."""

        def call(args: Sequence[Any], context: Context) -> Any:
            positional, named = fill(self._parameters, self._converts, args, context)
            return function(*positional, **named)

        return call

    def _runner(
        self, function: Callable[..., Any], bound: Caller, in_thread: Callable[..., Any], supply: Supply | None
    ) -> Run:
        """``bound`` on the loop, or in a thread; within what the app provides to the function, if it takes any.

        ``around`` encloses the objects that are made for one run too.
        """
        if is_async(function):
            run = _contain(bound)
            if supply is not None:
                run = _contain(supply.around(run))
            return run if self._around is None else _contain(self._around(run))
        call = bound if supply is None else supply.around_in_thread(bound)
        run = _contain(functools.partial(in_thread, call if self._around is None else self._around(call)))
        return run if supply is None else _contain(supply.around(run))

    def _load(self) -> Any:
        if self._target is not None:
            return self._target
        if self._import_path is not None:
            return load_path(self._import_path)
        if self._source is not None and self._method is not None:
            return load_source(self._source, self._method)
        raise HandlerError(f"{self.id}: the entry names no function; give it a target or a source", kind="Invalid")

    async def _refuse(self, *args: Any) -> Any:
        raise HandlerError(f"{self.id}: not started")


def problem_of_handler(function: Callable[..., Any], provided: Container[Any] = ()) -> str:
    """Why a function cannot be a handler of bodies; empty if it can."""
    try:
        refuse_generator(function)
        _checked(function, provided)
    except HandlerError as error:
        return str(error)
    return ""


def _checked(function: Callable[..., Any], provided: Container[Any]) -> tuple[Parameter, ...]:
    parameters = read_signature(function, provided)
    for parameter in parameters:
        if parameter.role in (Role.BODY, Role.EXTRA):
            check_parameter(function, parameter)
    return parameters


def refuse_generator(function: Callable[..., Any]) -> None:
    """Raise HandlerError for a function that yields."""
    if is_generator(function):
        remedy = "return a value, or use await instead of yield"
        raise HandlerError(f"{describe(function)} is a generator; a handler must not yield: {remedy}", kind="Invalid")


def _contain(function: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """The function as a coroutine function that raises nothing that would end its task, unless that is cancelled."""

    async def run(*args: Any) -> Any:
        before = signals.fork_count
        try:
            result = await function(*args)
            if result is not None and not isinstance(result, _PLAIN):
                result = await run_on(result)
        except BaseException as error:
            if signals.fork_count != before:
                signals.leave_child(error)
            if isinstance(error, Exception | Interrupted | Suspended) or is_from_outside(error):
                raise
            if (pause := suspended_in(error)) is not None:
                raise pause from None
            raise refuse_exit(error) from error
        if signals.fork_count != before:
            signals.leave_child(None)
        return result

    return run


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
