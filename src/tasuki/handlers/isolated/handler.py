"""IsolatedPythonHandler: a Python function whose crash, leak or endless loop costs only its own messages."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import Context as Variables
from pathlib import Path
from types import CoroutineType
from typing import Any

import msgspec

from tasuki.contracts.codec import Codec
from tasuki.contracts.context import CallOptions
from tasuki.contracts.handler import Context, Handler
from tasuki.contracts.recycling import NO_LIMITS, Limits
from tasuki.contracts.state.following import CHAIN, PlainMessage, follower_in
from tasuki.contracts.state.store_handle import VERBS
from tasuki.errors import HandlerError, HandlerTimeoutError
from tasuki.handlers.isolated.target import Circumstances, PythonTarget
from tasuki.handlers.process.failure import PlainFailure, exact_failure_of
from tasuki.handlers.process.pool import ChildPool
from tasuki.handlers.process.protocol import CALL, HANDLE, ProtocolError, encode
from tasuki.handlers.process.questions import Death
from tasuki.handlers.process.worker import Recipe
from tasuki.observe.custom import record
from tasuki.observe.trace import CURRENT, handed_on
from tasuki.units import format_duration

_PERMISSIONS = frozenset({"actor", "scope", "can", "require", "publish", "has_policy", "group", "evaluate"})

_OWN = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime"})


def _publish(context: Context, queue: str, body: Any, headers: Any, options: dict[str, Any]) -> Any:
    for name in CHAIN & options.keys():
        options[name] = follower_in(options[name])
    return context.publish(queue, body, headers, **options)


async def _group(context: Context, members: list[dict[str, Any]], then: Any, on_error: Any, id: str | None) -> Any:
    later = [PlainMessage(each) for each in members]
    started = await context._reach.group(later, follower_in(then), follower_in(on_error), id)
    return started.id, started.members


def _call(context: Context, function: str, args: list[Any], options: list[Any] | None) -> Any:
    if options is None:
        return context.call(function, *args)
    return context.call(function, *args, **CallOptions(*options)._asdict())


def _method(name: str) -> Callable[..., Any]:
    return lambda context, *args: getattr(context, name)(*args)


async def _info(context: Context, queue: str) -> dict[str, Any]:
    return dict(await context.queues.info(queue))


async def _pause(context: Context, queue: str, due: Any, reason: str) -> dict[str, Any]:
    return dict(await context._reach.pause(queue, due, reason))


def _find(context: Context, id: str) -> None:
    context.project.resource(id)


def _use(context: Context, id: str, method: str, args: list[Any], options: dict[str, Any]) -> Any:
    """Whether the method of a resource has to be awaited, and its result."""
    if method.startswith("_"):
        raise AttributeError(f"{method} cannot be used from another process")
    value = getattr(context.project.resource(id), method)(*args, **options)
    return _awaited(value) if type(value) is CoroutineType else (False, value)


async def _awaited(value: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
    return True, await value


def _find_store(context: Context, id: str) -> None:
    context.store(id)


async def _use_store(context: Context, id: str, verb: str, args: list[Any], options: dict[str, Any]) -> Any:
    if verb not in VERBS:
        raise ProtocolError(f"a store has no {verb[:50]!r}")
    return await context._reach.store(id)(verb, *args, **options)


async def _begin_step(context: Context, name: str) -> list[Any] | None:
    found = await context._settling.steps().begin(name)
    return None if found is None else list(found)


def _sleep(context: Context, name: str | None, seconds: float) -> Any:
    return context._settling.steps().sleep(name, seconds)


def _wait(context: Context, name: str | None, event: str, key: str | int, seconds: float) -> Any:
    return context._settling.steps().wait(name, event, key, seconds)


def _permit(context: Context, verb: str, args: list[Any], options: dict[str, Any]) -> Any:
    if verb not in _PERMISSIONS or context.project.permissions is None:
        raise HandlerError("security is not available in this context", kind="Internal", retryable=False)
    found = getattr(context.project.permissions, verb)(*args, **options)
    return dict(found) if isinstance(found, Mapping) else found


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "publish": _publish,
    "group": _group,
    "call": _call,
    "info": _info,
    "pause": _pause,
    "resume": lambda context, queue: context.queues.resume(queue),
    "stopping": lambda context: context.stopping,
    "lease_lost": lambda context: context.delivery.lease_lost,
    "cancelled": lambda context: context.cancelled,
    "cancel": lambda context, queue, id: context.queues.cancel(id, queue=queue),
    **{name: _method(name) for name in ("ack", "reject")},
    "check_call": lambda context, function: context.project.check_call(function),
    "env": lambda context, name: context.project.env(name),
    "set_env": lambda context, *args: context.project.set_env(*args),
    "nack": lambda context, due: context._settling.nack(due),
    "snooze": lambda context, due: context._settling.snooze(due),
    "progress": lambda context, *args: context._settling.progress(*args),
    "step.begin": _begin_step,
    "step.end": lambda context, name, result: context._settling.steps().end(name, result),
    "step.sleep": _sleep,
    "step.wait": _wait,
    "signal": lambda context, event, key, value: context.signal(event, key, value),
    "measure": lambda context, verb, _, *args: record(verb, context.delivery.function, *args),
    "env_all": lambda context: dict(context.project.env_all()),
    "resource": _find,
    "resource.use": _use,
    "store": _find_store,
    "store.use": _use_store,
    "permissions": _permit,
}


class PythonHost:
    """See :class:`tasuki.handlers.process.questions.ChildHost`."""

    def __init__(self, id: str) -> None:
        self._id = id
        self.takes_body: bool | None = None
        """Whether the function has a parameter for the body; None: no child is ready yet."""

    def cost(self, variables: Variables) -> float:
        """The time of trusted code is not counted."""
        return 0.0

    def charge(self, variables: Variables, seconds: float) -> None:
        """The same."""

    def answer(self, context: Context, operation: str, args: list[Any]) -> Any:
        """The value of a method of the context, or a coroutine of it."""
        found = _OPERATIONS.get(operation)
        if found is None:
            raise ProtocolError(f"a question for {operation[:50]!r}")
        return found(context, *args)

    def paid(self, work: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        """As it is: time is not counted."""
        return work

    def failure(self, error: Exception) -> PlainFailure:
        """What the child makes the same error of."""
        return exact_failure_of(error)

    def note(self, context: Context | None, args: list[Any]) -> None:
        """Write a log record of the child: into the log of its message, or of its own logger."""
        name, level, text, fields = args
        logger = logging.getLogger(name) if context is None else context.logger
        logger.log(level, "%s", text, extra={f"{key}_" if key in _OWN else key: fields[key] for key in fields})

    def ready(self, told: Any) -> None:
        """Whether there is a body parameter."""
        self.takes_body = bool(told)

    def died(self, death: Death) -> HandlerError:
        """The error names the function, and why it has no process any more."""
        return HandlerError(f"{self._id}: its process {death.cause()}", kind="Internal", retryable=True)


_SITE = "tasuki.handlers.isolated.site:PythonSite"


class IsolatedPythonHandler(Handler):
    """Runs the function in child processes, which import it; nothing of it is imported here.

    Its context works there by questions to this process. The code is trusted, only its faults are not: the child has
    the environment, the folder and the rights of the worker.

    Args:
        target: the function.
        time: seconds of one run, waiting included; what does not end within half a second of that is killed.
        processes: how many children there may be; each runs several messages at a time when there are more.
        limits: when a child is replaced by another one.
    """

    def __init__(self, target: PythonTarget, *, time: float | None, processes: int, limits: Limits = NO_LIMITS) -> None:
        super().__init__(target.id)
        self._time = time
        source = None if target.source is None else str(Path(target.source).resolve())
        level = logging.getLogger().getEffectiveLevel()
        self._host = PythonHost(target.id)
        recipe = Recipe(
            site=_SITE,
            boot=msgspec.to_builtins(dataclasses.replace(target, source=source, level=level)),
            host=self._host,
            is_closed=False,
            seconds=None,
        )
        self._pool = ChildPool(target.id, recipe, processes, limits)

    async def start(self) -> None:
        """Start a process that imports the function. Raises what ``PythonHandler.start`` raises."""
        await self._pool.start()

    async def stop(self) -> None:
        """End the processes."""
        await self._pool.stop()

    def decoder(self, codec: Codec) -> Callable[[bytes], Any]:
        """To plain data: the child makes of it what the function wants.

        Raises:
            HandlerError: the handler was not started: it does not know yet whether there is a body parameter.
        """
        if self._host.takes_body is None:
            raise HandlerError(f"{self.id}: not started")
        return codec.decoder() if self._host.takes_body else lambda data: None

    async def handle(self, body: Any, context: Context) -> Any:
        """Treat one message; as ``PythonHandler.handle``, and HandlerError if the process ends."""
        return await self._run(HANDLE, body, context)

    async def call(self, args: Sequence[Any], context: Context) -> Any:
        """Call with any number of arguments; they and the result are plain data."""
        return await self._run(CALL, list(args), context)

    async def _run(self, kind: int, value: Any, context: Context) -> Any:
        payload = encode((_circumstances(context), value))
        try:
            return await self._pool.run(kind, payload, context, self._time)
        except TimeoutError:
            text = f"the handler ran longer than its limits.time ({format_duration(self._time or 0)})"
            raise HandlerTimeoutError(text, kind="Timeout", retryable=True) from None

    def processes(self) -> list[int]:
        """Their ids."""
        return self._pool.pids()


def _circumstances(context: Context) -> Circumstances:
    message = context.message
    return Circumstances(
        context.delivery.function,
        context.attempt,
        context.delivery.failures,
        context.delivery.is_last_attempt,
        context.queue,
        context.delivery.consumer,
        None if message is None else (message.id, message.body, message.headers),
        dict(context.delivery.values),
        context.project.permissions is not None,
        context.logger.getEffectiveLevel(),
        context.delivery.keeps_result,
        handed_on(CURRENT.get() or {}),
    )
