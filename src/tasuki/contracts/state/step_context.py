"""StepContext: how a handler does its work in steps, each of which is recorded when it is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from inspect import isawaitable, iscoroutinefunction
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from tasuki.contracts.state.store_handle import SyncStores, has_loop, misplaced
from tasuki.contracts.state.transaction_context import SyncTransactions

if TYPE_CHECKING:
    from tasuki.contracts.context import Settling

P = ParamSpec("P")
T = TypeVar("T")


class SyncContext(SyncStores, SyncTransactions):
    """What a context offers to plain functions, which run in a thread."""

    def __init__(self, reach: Any, settling: Settling) -> None:
        SyncStores.__init__(self, reach)
        SyncTransactions.__init__(self, settling, reach)
        self._settling = settling

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


class StepContext:
    """The part of a handler's context that is about steps."""

    __slots__ = ()
    settling: Settling
    reach: Any

    @overload
    def step(
        self, name: str, function: Callable[P, Awaitable[T]], /, *args: P.args, **named: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def step(
        self, name: str, function: Callable[P, T], /, *args: P.args, **named: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    def step(self, name: str, function: Callable[..., Any], /, *args: Any, **named: Any) -> Coroutine[Any, Any, Any]:
        """Call a function once: when the message comes again, its recorded result is returned in place of a call.

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
        steps = self.settling.steps()
        if (found := await steps.begin(name)) is not None:
            return found[0]
        result = function(*args, **named)
        if isawaitable(result):
            result = await result
        await steps.end(name, result)
        return result

    @property
    def sync(self) -> SyncContext:
        """The same for plain functions, which run in a thread: ``context.sync.store("carts").get(key)``."""
        return SyncContext(self.reach, self.settling)
