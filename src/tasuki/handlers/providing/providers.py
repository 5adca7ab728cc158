"""Providers: all that an app provides, what one function gets of it; making and closing the objects."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from tasuki.contracts.handler import Context, Interrupted, Reject, Retry, Snooze
from tasuki.contracts.state.jobs import Suspended
from tasuki.errors import HandlerError, ProviderError, class_names, text_of
from tasuki.handlers.providing.order import order_of, sync_problem
from tasuki.handlers.providing.provider import Provider, Scope, Supplied, read_provider, type_of
from tasuki.handlers.signature import Parameter, Role, describe, is_async
from tasuki.handlers.threads import Threads, is_from_outside, refuse_exit
from tasuki.observe.tracebacks import user_traceback

_log = logging.getLogger("tasuki.provider")


Exit = Callable[..., Any]
"""Takes the three parts of an error, or three times None."""

Made = list[tuple[Provider, Exit]]
"""The exits still to be called, in the order of making."""


_THREADS = 8

_TRACEBACK_CHARS = 3000


making = Threads("tasuki-making", _THREADS)

closing = Threads("tasuki-closing", _THREADS)
"""Threads apart: else all could wait in providers for objects that only a close releases."""


async def make(provider: Provider, provided: Mapping[Any, Any], context: Context | None, made: Made) -> Any:
    """The object of a provider, made of the ``provided`` ones; its exit is added to ``made``.

    Raises:
        ProviderError: the provider raised an error. Signals (Retry, Reject, Snooze, Suspended) are raised as they are.
    """
    named = _arguments(provider, provided, context)
    try:
        if provider.is_called_async or provider.enters == "async":
            value = provider.function(**named)
            value = await value if provider.is_called_async else value
        else:
            value = await making.run(provider.function, **named)
        if provider.enters == "async":
            made.append((provider, value.__aexit__))
            return await _entered(value.__aenter__(), made)
        if provider.enters == "sync":
            made.append((provider, lambda *error: closing.run(value.__exit__, *error)))
            return await _entered(making.run(value.__enter__), made)
    except BaseException as error:
        _fail(provider, error, "failed")
    return value


async def _entered(entering: Awaitable[Any], made: Made) -> Any:
    try:
        return await entering
    except BaseException:
        made.pop()  # never entered
        raise


def make_here(provider: Provider, provided: Mapping[Any, Any], context: Context, made: Made) -> Any:
    """The same of a provider that is not async, in this thread."""
    try:
        value = provider.function(**_arguments(provider, provided, context))
        if provider.enters:
            entered = value.__enter__()
            made.append((provider, value.__exit__))
            return entered
    except BaseException as error:
        _fail(provider, error, "failed")
    return value


async def close(made: Made, error: BaseException | None = None) -> None:
    """Close all, the last one first; ``error``: of the handler.

    Raises:
        ProviderError: of the first that cannot be closed, if the handler has no error of its own; else it is logged.
    """
    mine: BaseException | None = None
    for provider, leave in reversed(made):
        try:
            await leave(*_parts(error or mine))
        except BaseException as problem:
            mine = _kept(provider, problem, error, mine)
    if mine is not None:
        raise mine


def close_here(made: Made, error: BaseException | None = None) -> None:
    """The same in this thread."""
    mine: BaseException | None = None
    for provider, leave in reversed(made):
        try:
            leave(*_parts(error or mine))
        except BaseException as problem:
            mine = _kept(provider, problem, error, mine)
    if mine is not None:
        raise mine


def _kept(
    provider: Provider, problem: BaseException, error: BaseException | None, mine: BaseException | None
) -> BaseException | None:
    """The error to raise when all are closed, after one has raised ``problem``."""
    if problem is error or problem is mine:  # it has let the error pass
        return mine
    if error is None and mine is None:
        try:
            _fail(provider, problem, "failed to close")
        except BaseException as named:
            return named
    _log.warning("provider %s failed to close after an error of its handler: %s", provider.id, text_of(problem))
    return mine


def _parts(error: BaseException | None) -> tuple[Any, Any, Any]:
    return (None, None, None) if error is None else (type(error), error, error.__traceback__)


def _arguments(provider: Provider, provided: Mapping[Any, Any], context: Context | None) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for parameter in provider.parameters:
        if parameter.role is Role.PROVIDED:
            given[parameter.name] = provided[parameter.type_]
        elif context is None:
            given[parameter.name] = logging.getLogger(f"tasuki.provider.{provider.id}")
        else:
            given[parameter.name] = _of_message(parameter.role, context)
    return given


def _of_message(role: Role, context: Context) -> Any:
    return {
        Role.LOGGER: context.logger,
        Role.CONTEXT: context,
        Role.MESSAGE: context.message,
        Role.MESSAGES: context.messages,
    }[role]


def _fail(provider: Provider, error: BaseException, what: str) -> NoReturn:
    """Raise the error of a provider, so that its text names it and the retry rules know its classes."""
    if isinstance(error, Retry | Reject | Snooze | Suspended | Interrupted | ProviderError) or is_from_outside(error):
        raise error
    problem = error if isinstance(error, Exception) else refuse_exit(error, "it")
    kind, retryable = (problem.kind, problem.retryable) if isinstance(problem, HandlerError) else ("", None)
    names = (*class_names(error), *(error.names if isinstance(error, HandlerError) else ()))
    text = f"provider {provider.id!r} {what}: {text_of(problem)}"
    traceback = f"{text}\n{user_traceback(error, _TRACEBACK_CHARS)}"
    raise ProviderError(text, kind=kind, retryable=retryable, names=names, traceback=traceback) from error


Run = Callable[[Any, Context], Any]


_CLOSING = 10.0
"""Seconds that the end of a process waits for one object to be closed."""


class DeclaredProvider(NamedTuple):
    """A declared provider; ``load`` imports its function."""

    id: str
    scope: Scope
    load: Callable[[], Any]


class Providers:
    """What the functions of an app are given; objects of scope process are made at their first use.

    They belong to the event loop in which the app is open.
    """

    id = "providers"

    def __init__(self, declared: Sequence[DeclaredProvider]) -> None:
        self._declared = declared
        self._known: dict[Any, Provider] | None = None
        self._replaced: dict[Any, Any] = {}
        self.version = 0
        """Counts the replacements."""
        self.made: dict[Any, Any] = {}
        """The objects of scope process, and those that replace others; by their types."""
        self._to_close: Made = []
        self._locks: dict[str, asyncio.Lock] = {}

    @property
    def known(self) -> Mapping[Any, Provider]:
        """By their types; the functions are imported when this is first read.

        Raises:
            HandlerError: one of them cannot be imported or cannot be a provider, or two provide the same type.
        """
        if self._known is None:
            functions = {declared: declared.load() for declared in self._declared}
            types = {declared: type_of(function) for declared, function in functions.items()}
            known: dict[Any, Provider] = {}
            for declared, function in functions.items():
                provider = read_provider(declared.id, function, declared.scope, set(types.values()))
                if (other := known.setdefault(provider.type_, provider)) is not provider:
                    raise HandlerError(same_problem(provider, other), kind="Invalid")
            self._known = known
        return self._known

    @property
    def types(self) -> Collection[Any]:
        """The types that are provided; raises as ``known``."""
        return self.known.keys()

    def supply(self, function: Callable[..., Any], parameters: Sequence[Parameter]) -> Supply | None:
        """What a function is given for its parameters; None: it takes nothing that is provided.

        Raises:
            HandlerError: it cannot be given that; the message says why.
        """
        needed = [parameter.type_ for parameter in parameters if parameter.role is Role.PROVIDED]
        if not needed:
            return None
        order, is_plain = order_of(needed, self.known), not is_async(function)
        if is_plain and (problem := sync_problem(describe(function), order)):
            raise HandlerError(problem, kind="Invalid")
        return Supply(self, needed, is_plain=is_plain)

    def replace(self, type_: Any, value: Any) -> None:
        """Give functions this object in place of the provider's own, from now on.

        Raises:
            KeyError: the type is not provided.
        """
        if type_ not in self.known:
            raise KeyError(type_)
        self._replaced[type_] = self.made[type_] = value
        self.version += 1

    def order(self, needed: Sequence[Any]) -> list[Provider]:
        """The providers to call for the needed types, in order; see ``order_of``."""
        return order_of(needed, self.known, self._replaced)

    async def of_process(self, provider: Provider) -> None:
        """Make the object of a provider of scope process, unless it is there; its needs are there. Raises as ``make``.

        Others that need it at the same time wait for it; after a failure the next one tries again.
        """
        async with self._locks.setdefault(provider.id, asyncio.Lock()):
            if provider.type_ not in self.made:
                made = Made()
                self.made[provider.type_] = await make(provider, self.made, None, made)
                self._to_close += made

    async def stop(self) -> None:
        """Close the objects of scope process, the last one first. Idempotent; the next use makes them again."""
        made, self._to_close = self._to_close, []
        self.made, self._locks = dict(self._replaced), {}
        making.close()
        while made:
            one = made.pop()
            try:
                async with asyncio.timeout(_CLOSING):
                    await close([one])
            except Exception as error:
                _log.error("%s", error if str(error) else f"provider {one[0].id!r} does not close: {text_of(error)}")
        closing.close()


class Supply:
    """What one function is given at each of its runs."""

    def __init__(self, providers: Providers, needed: Sequence[Any], *, is_plain: bool) -> None:
        self._providers = providers
        self._needed = needed
        self._is_plain = is_plain
        self._version = -1
        self._of_process: list[Provider] = []
        self._of_message: list[Provider] = []

    def _update(self) -> None:
        order, self._version = self._providers.order(self._needed), self._providers.version
        self._of_process = [provider for provider in order if provider.scope == "process"]
        self._of_message = [provider for provider in order if provider.scope == "message"]

    def around(self, handle: Run) -> Run:
        """``handle`` with a context that has the provided objects; closes those made for this run after it."""

        async def run(body: Any, context: Context) -> Any:
            if self._version != self._providers.version:
                self._update()
            for provider in self._of_process:
                if provider.type_ not in self._providers.made:
                    await self._providers.of_process(provider)
            if self._is_plain or not self._of_message:
                return await handle(body, Supplied(context, self._providers.made))
            return await self._with_own(handle, body, context)

        return run

    async def _with_own(self, handle: Run, body: Any, context: Context) -> Any:
        provided, made = dict(self._providers.made), Made()
        try:
            for provider in self._of_message:
                provided[provider.type_] = await make(provider, provided, context, made)
            result = await handle(body, Supplied(context, provided))
        except BaseException as error:
            await close(made, error)
            raise
        await close(made)
        return result

    def around_in_thread(self, call: Run) -> Run:
        """``call`` of a plain function; what it needs for one run is made and closed in its own thread."""

        def run(body: Any, context: Context) -> Any:
            assert isinstance(context, Supplied)
            if not self._of_message:
                return call(body, context)
            provided, made = dict(context.provided), Made()
            try:
                for provider in self._of_message:
                    provided[provider.type_] = make_here(provider, provided, context, made)
                result = call(body, Supplied(context, provided))
            except BaseException as error:
                close_here(made, error)
                raise
            close_here(made)
            return result

        return run


def same_problem(provider: Provider, other: Provider) -> str:
    """The problem of two providers of one type, and the remedy."""
    return (
        f"{provider.place} provides the same type as {other.id!r}; remove one of them, or give one another type, "
        "as a NewType or with Annotated"
    )
