"""JobContext and StepContext: cancels, progress, steps and pauses of a job; and the queues of its project."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import datetime
from inspect import isawaitable, iscoroutinefunction
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from tasuki.contracts.state.following import Follower, PlainMessage, message_to
from tasuki.contracts.state.jobs import MAX_NOTE, HandlerMetrics, Suspended, Waited
from tasuki.contracts.state.publish_context import SyncPublishing, SyncTransactions
from tasuki.contracts.state.store_handle import SyncStores, has_loop, misplaced
from tasuki.errors import WaitTimeoutError
from tasuki.message import is_request
from tasuki.observe.trace import current_traceparent
from tasuki.units import Duration, format_duration, one_of, parse_duration

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.contracts.context import Facts, MessageOptions, Permissions, Reach, Settling
    from tasuki.contracts.state.jobs import CancelOutcome
    from tasuki.message import HeaderValue


def wants_result(context: JobContext) -> bool:
    """Whether what the handler returns is used: for a reply, or as its queue keeps results."""
    return context.delivery.keeps_result or is_request(context.delivery.message)


class JobContext:
    """The half of a handler's context that is about the job itself."""

    __slots__ = ()
    delivery: Facts
    _settling: Settling
    _reach: Reach[Any]

    @property
    def cancelled(self) -> bool:
        """Whether the message is cancelled: end soon; it is not redelivered. Of a batch, whether all of them are."""
        return self.delivery.cancelled

    @property
    def metrics(self) -> HandlerMetrics:
        """Counters, gauges and histograms of this handler's own: ``context.metrics.count("orders")``."""
        return HandlerMetrics(self.delivery.function, self._reach.measure)

    @property
    def trace(self) -> str | None:
        """The ``traceparent`` of the trace that runs now, which each publish continues; None: there is none."""
        return current_traceparent()

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Say how far the work is, for ``job.progress()``; only where the queue keeps results, else it does nothing.

        The store hears of it once a second at most, and of the last one always. Safe in a plain handler's thread.
        """
        self._settling.progress(done, total, str(note)[:MAX_NOTE])

    async def signal(self, event: str, key: str | int, value: Any = True) -> bool:
        """Give the value that messages wait for with ``wait_for``; see :meth:`tasuki.App.signal`.

        Raises:
            PolicyDeniedError: the actor may not.
            HandlerError: kind Invalid: the value is no plain data, or larger than 64 KiB.
            UnsupportedError: no queue has a state.
            DriverError: the store cannot be reached; signal again.
        """
        return await self._reach.signal(event, key, value)


P = ParamSpec("P")

T = TypeVar("T")

_NO_DEFAULT: Any = object()


class SyncContext(SyncStores, SyncTransactions, SyncPublishing):
    """What a context offers to plain functions, which run in a thread."""

    def __init__(self, facts: Facts, settling: Settling, reach: Any) -> None:
        SyncStores.__init__(self, reach)
        SyncTransactions.__init__(self, settling, reach)
        SyncPublishing.__init__(self, facts, settling, reach)

    def step(self, name: str, function: Callable[P, T], /, *args: P.args, **named: P.kwargs) -> T:
        """As ``context.step``, without await, for plain functions."""
        if has_loop():
            raise misplaced(f"context.sync would block the event loop: write 'await context.step({name!r}, …)'")
        if iscoroutinefunction(function):
            raise misplaced(f"step {name!r} of a plain function is async: make it plain, or the handler async")
        steps = self._settling.steps()
        if (found := steps.wait_for(steps.begin(name))) is not None:
            recorded: T = found[0]
            return recorded
        result = function(*args, **named)
        steps.wait_for(steps.end(name, result))
        return result

    def sleep(self, duration: Duration, *, name: str | None = None) -> None:
        """As ``context.sleep``, without await, for plain functions."""
        if has_loop():
            raise misplaced("context.sync would block the event loop: write 'await context.sleep(…)'")
        steps = self._settling.steps()
        _pass(steps.wait_for(steps.sleep(name, parse_duration(duration))))

    def wait_for(
        self, event: str, key: str | int, timeout: Duration, *, default: Any = _NO_DEFAULT, name: str | None = None
    ) -> Any:
        """As ``context.wait_for``, without await, for plain functions."""
        if has_loop():
            raise misplaced("context.sync would block the event loop: write 'await context.wait_for(…)'")
        steps, seconds = self._settling.steps(), parse_duration(timeout)
        return _value(steps.wait_for(steps.wait(name, event, key, seconds)), event, key, seconds, default)


class StepContext:
    """The part of a handler's context that is about steps."""

    __slots__ = ()
    delivery: Facts
    _settling: Settling
    _reach: Any

    @overload
    def step(
        self, name: str, function: Callable[P, Awaitable[T]], /, *args: P.args, **named: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def step(
        self, name: str, function: Callable[P, T], /, *args: P.args, **named: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    def step(self, name: str, function: Callable[..., Any], /, *args: Any, **named: Any) -> Coroutine[Any, Any, Any]:
        """Call a function once: when the message is redelivered, its recorded result is returned in place of a call.

        The result is recorded before this returns, in the store of the message's queue. A step that ended, but whose
        record was not written, is done again: at least once until it is recorded, and never after. A plain function
        runs on the event loop; in a plain handler write ``context.sync.step(…)``.

        Args:
            name: of the step, once in each run; the same one in the next run.
            function: plain or async.
            args: its arguments.
            named: its arguments by name.

        Raises:
            HandlerError: kind Invalid: the result is no plain data (bool, int, float, str, bytes, None, lists and
                dicts), all results have more than 256 KiB, more than 1,000 steps, a name is used twice, the message is
                settled, or there is none; kind Conflict: the lease is lost, and another worker goes on.
            UnsupportedError: the queue has no state. DriverError: its store stays away.
        """
        if not has_loop():
            raise misplaced(f"context.step is for async functions: write 'context.sync.step({name!r}, …)' here")
        return self._step(name, function, args, named)

    async def _step(self, name: str, function: Callable[..., Any], args: Any, named: Any) -> Any:
        steps = self._settling.steps()
        if (found := await steps.begin(name)) is not None:
            return found[0]
        result = function(*args, **named)
        if isawaitable(result):
            result = await result
        await steps.end(name, result)
        return result

    async def sleep(self, duration: Duration, *, name: str | None = None) -> None:
        """Let the message rest: the handler ends here, and goes on after its steps when the time is over.

        The time of its end is recorded, so that no crash makes a sleep longer. Meanwhile the message waits at its
        broker, holds no worker, and no attempt is counted. A plain handler writes ``context.sync.sleep(…)``.

        Args:
            duration: ``"3d"``, ``"1h30m"``, a ``timedelta`` or seconds.
            name: of the step; default its number among the sleeps of the run.

        Raises:
            Suspended: the handler ends here; let it pass.
            HandlerError, UnsupportedError, DriverError: as ``step``; HandlerError (Invalid) in a batch too.
        """
        if not has_loop():
            raise misplaced("context.sleep is for async functions: write 'context.sync.sleep(…)' here")
        _pass(await self._settling.steps().sleep(name, parse_duration(duration)))

    async def wait_for(
        self, event: str, key: str | int, timeout: Duration, *, default: Any = _NO_DEFAULT, name: str | None = None
    ) -> Any:
        """Wait for ``app.signal(event, key, value)``, and return its value; the handler ends meanwhile, as for a sleep.

        A signal that was given before is found. The outcome is recorded: each later run of the message has the same.

        Args:
            event: name of the signal, such as ``"approved"``.
            key: which case it is about, such as the number of an order.
            timeout: after which the wait is over, counted from its first run.
            default: returned then, instead of the error.
            name: of the step; default one made of ``event`` and ``key``.

        Raises:
            WaitTimeoutError: no signal came in time.
            Suspended: the handler ends here; let it pass.
            HandlerError, UnsupportedError, DriverError: as ``sleep``.
        """
        if not has_loop():
            raise misplaced("context.wait_for is for async functions: write 'context.sync.wait_for(…)' here")
        seconds = parse_duration(timeout)
        return _value(await self._settling.steps().wait(name, event, key, seconds), event, key, seconds, default)

    @property
    def sync(self) -> SyncContext:
        """The same for plain functions, which run in a thread: ``context.sync.store("carts").get(key)``."""
        return SyncContext(self.delivery, self._settling, self._reach)


def _pass(left: float) -> None:
    """Raise Suspended if there is time left."""
    if left > 0:
        raise Suspended(left)


def _value(waited: Waited, event: str, key: str | int, seconds: float, default: Any) -> Any:
    _pass(waited.left)
    if waited.signal is not None:
        return waited.signal[0]
    if default is not _NO_DEFAULT:
        return default
    raise WaitTimeoutError(
        f"no signal {event!r} for {str(key)!r} came within {format_duration(seconds)}; give wait_for a default, or "
        "catch WaitTimeoutError",
        kind="Timeout",
        retryable=False,
    )


class ContextQueues:
    """``context.queues``: reads, pauses and resumes queues, and cancels their messages."""

    __slots__ = ("_reach",)

    def __init__(self, reach: Reach[Any]) -> None:
        self._reach = reach

    async def info(self, queue: str) -> Mapping[str, Any]:
        """``message_count``, ``ready``, ``in_flight``, ``delayed``, ``consumer_count`` of a queue by id.

        ``paused`` is there only while the queue is paused: ``until`` (Unix seconds, or None), ``actor``, ``at``,
        ``reason``.
        """
        return await self._reach.info(queue)

    async def pause(
        self, queue: str, duration: Duration | None = None, *, until: datetime | None = None, reason: str = ""
    ) -> Mapping[str, Any]:
        """Let all workers stop receiving from a queue: for a ``duration``, ``until`` a time, or until it is resumed.

        Running handlers end; the message of this one is settled as it says. A pause that ends later stays in force, so
        that a handler never shortens an operator's pause. Returns the pause in force, as ``info`` has it.

        Raises:
            ValueError: the time is over or has no time zone, or both are given.
            PolicyDeniedError, QueueNotFoundError, DriverError. UnsupportedError: the queue has no state.
        """
        return await self._reach.pause(queue, one_of("duration", duration, until, "until"), reason)

    async def resume(self, queue: str) -> bool:
        """End the pause of a queue; whether there was one. Raises as ``pause``."""
        return await self._reach.resume(queue)

    async def cancel(self, id: str, *, queue: str) -> CancelOutcome:
        """Cancel a message of a queue by id; see :meth:`tasuki.App.cancel`.

        Raises:
            PolicyDeniedError: the actor may not.
            UnsupportedError: the queue has no state.
            DriverError: its store cannot be reached.
        """
        return await self._reach.cancel(queue, id)

    def message_to(
        self,
        queue: str,
        body: Any,
        headers: Mapping[str, HeaderValue] | None = None,
        *,
        then: Follower | None = None,
        on_error: Follower | None = None,
        **options: Unpack[MessageOptions],
    ) -> PlainMessage:
        """A message to a queue by id, for ``group``, ``then`` or ``on_error``.

        ``options``: delay, at, ttl, priority, key, id. Where you have the queue or the task itself, write
        ``jobs.message(body)`` or ``send.message(url)``.
        """
        return message_to(queue, body, headers, {**options, "then": then, "on_error": on_error})


class ContextProject:
    """``context.project``: environment variables, resources and rights."""

    __slots__ = ("_reach",)

    def __init__(self, reach: Reach[Any]) -> None:
        self._reach = reach

    @property
    def permissions(self) -> Permissions | None:
        """The rights of the actor; None where no rights are kept."""
        return self._reach.permissions

    def check_call(self, function: str) -> None:
        """Return if there is such a function and it may be called; raises what ``call`` would raise then."""
        self._reach.check_call(function)

    def resource(self, id: str) -> Any:
        """The object behind a resource entry of another package's kind; of a store, see ``store``.

        Raises:
            HandlerError: kind NotFound.
        """
        return self._reach.resource(id)

    def env(self, name: str) -> str | None:
        """Value of a declared environment variable (public name first, then entry id), or None.

        Raises:
            HandlerError: its file is not UTF-8 (kind Invalid), or cannot be read (Unavailable).
        """
        return self._reach.env(name)

    def set_env(self, name: str, value: str) -> None:
        """Give a declared environment variable a value.

        Raises:
            HandlerError: kind NotFound: it is not declared; PermissionDenied: it is read-only, or its storage is.
        """
        self._reach.set_env(name, value)

    def env_all(self) -> Mapping[str, str]:
        """The environment variables that may be read: those declared, and what else their storages hold."""
        return self._reach.env_all()
