"""Making: call providers and close their objects, on the loop or in a thread."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

from tasuki.contracts.handler import Context, Interrupted, Reject, Retry, Snooze
from tasuki.contracts.state.steps import Suspended
from tasuki.errors import HandlerError, ProviderError, class_names, text_of
from tasuki.handlers.providing.provider import Provider
from tasuki.handlers.signature import Role
from tasuki.handlers.threads import Threads, is_from_outside, refuse_exit
from tasuki.observe.frames import user_traceback

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
