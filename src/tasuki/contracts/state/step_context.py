"""StepContext: the recorded steps and pauses of a handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from inspect import isawaitable, iscoroutinefunction
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from tasuki.contracts.state.publish_context import SyncPublishing
from tasuki.contracts.state.steps import Suspended, Waited
from tasuki.contracts.state.store_handle import SyncStores, has_loop, misplaced
from tasuki.contracts.state.transaction_context import SyncTransactions
from tasuki.errors import WaitTimeoutError
from tasuki.units import Duration, format_duration, parse_duration

if TYPE_CHECKING:
    from tasuki.contracts.context import Facts, Settling

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
