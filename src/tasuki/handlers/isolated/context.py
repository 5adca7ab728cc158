"""ChildContext: the context of a Python function in a child process; it passes each request on to the worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn, TypeVar

from tasuki.contracts.context import CallOptions, Permissions
from tasuki.contracts.handler import Context
from tasuki.contracts.state.following import CHAIN, Later, StartedGroup, carried, plain_option
from tasuki.contracts.state.jobs import Waited
from tasuki.contracts.state.store_handle import Use
from tasuki.errors import HandlerError
from tasuki.handlers.body import crossing
from tasuki.handlers.isolated.target import Circumstances
from tasuki.handlers.process.protocol import encode_result
from tasuki.handlers.process.server import Asker
from tasuki.handlers.store_values import check as check_value
from tasuki.handlers.store_values import packed
from tasuki.handlers.threads import run_in
from tasuki.message import HeaderValue, Message
from tasuki.units import When, plain_duration

Ask = Callable[..., Any]
T = TypeVar("T")

_WRITES = frozenset({"set", "put"})


def child_context(
    circumstances: Circumstances, asker: Asker, home: asyncio.AbstractEventLoop, logger: logging.Logger
) -> Context:
    """The context. Methods that do not await block their thread for the time of a question and its answer.

    Args:
        circumstances: the facts that do not change.
        asker: the way to the worker.
        home: the loop of the way to the worker, which is not the function's.
        logger: where its records go.
    """

    def ask(operation: str, *args: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(asker.ask(operation, *args), home).result()

    async def wait_for(operation: str, *args: Any) -> Any:
        return await run_in(home, asker.ask(operation, *args))

    reach = _AskedReach(ask, wait_for, home, has_permissions=circumstances.has_permissions)
    return Context(_AskedFacts(circumstances, logger, ask), _AskedSettling(ask, _AskedSteps(wait_for, home)), reach)


class _AskedFacts:
    """What may change is asked for; the rest is known."""

    batch = ()

    def __init__(self, known: Circumstances, logger: logging.Logger, ask: Ask) -> None:
        self._known = known
        self._ask = ask
        self.logger = logger
        self.message = None if known.message is None else Message(*known.message)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._known, name)

    @property
    def stopping(self) -> bool:
        return bool(self._ask("stopping"))

    @property
    def lease_lost(self) -> bool:
        return bool(self._ask("lease_lost"))

    @property
    def cancelled(self) -> bool:
        return bool(self._ask("cancelled"))


class _AskedSettling:
    in_transaction = False

    def __init__(self, ask: Ask, steps: _AskedSteps) -> None:
        self._ask = ask
        self._steps = steps
        self.ack = partial(ask, "ack")
        self.reject = partial(ask, "reject")
        self.progress = partial(ask, "progress")

    def nack(self, due: When | None = None) -> None:
        self._ask("nack", plain_duration(due))

    def snooze(self, due: When) -> None:
        self._ask("snooze", plain_duration(due))

    def steps(self) -> _AskedSteps:
        return self._steps

    def transaction(self, connection: Any, *, sync: bool) -> NoReturn:
        problem = "a function in its own process has no transaction with its message: remove isolation from it"
        raise HandlerError(problem, kind="Invalid", retryable=False)


class _AskedSteps:
    def __init__(self, wait_for: Ask, home: asyncio.AbstractEventLoop) -> None:
        self._wait_for = wait_for
        self._home = home

    async def begin(self, name: str) -> tuple[Any] | None:
        found: list[Any] | None = await self._wait_for("step.begin", name)
        return None if found is None else (found[0],)

    async def end(self, name: str, result: object) -> None:
        packed(name, result)  # here: on its way to the worker a tuple would become a list
        await self._wait_for("step.end", name, result)

    async def sleep(self, name: str | None, seconds: float) -> float:
        return float(await self._wait_for("step.sleep", name, seconds))

    async def wait(self, name: str | None, event: str, key: str | int, seconds: float) -> Waited:
        left, signal = await self._wait_for("step.wait", name, event, key, seconds)
        return Waited(left, None if signal is None else (signal[0],))

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._home).result()


class _AskedReach:
    """The worker does it, with the rights of the message's own context."""

    def __init__(self, ask: Ask, wait_for: Ask, home: asyncio.AbstractEventLoop, *, has_permissions: bool) -> None:
        self._ask = ask
        self._home = home
        self._wait_for = wait_for
        self.permissions: Permissions | None = _Permissions(ask) if has_permissions else None
        self.info = partial(wait_for, "info")
        self.cancel = partial(wait_for, "cancel")
        self.resume = partial(wait_for, "resume")
        self.signal = partial(wait_for, "signal")
        self.check_call = partial(ask, "check_call")
        self.env = partial(ask, "env")
        self.set_env = partial(ask, "set_env")
        self.env_all = partial(ask, "env_all")
        self.measure = partial(ask, "measure")

    async def publish(
        self, queue: str, body: Any, headers: Mapping[str, HeaderValue] | None, options: Mapping[str, Any]
    ) -> str:
        plain = {name: carried(value) if name in CHAIN else plain_option(value) for name, value in options.items()}
        return str(
            await self._wait_for("publish", queue, crossing(body), None if headers is None else dict(headers), plain)
        )

    async def group(
        self, members: Sequence[Later], then: Later | str | None, on_error: Later | str | None, id: str | None
    ) -> StartedGroup:
        plain = [each.plain() for each in members]
        encode_result(plain)  # a worker kills a process that sends it more than this
        return StartedGroup(*await self._wait_for("group", plain, carried(then), carried(on_error), id))

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._home).result()

    async def pause(self, queue: str, due: When | None, reason: str) -> Mapping[str, Any]:
        paused: Mapping[str, Any] = await self._wait_for("pause", queue, plain_duration(due), reason)
        return paused

    async def call(
        self, caller: Context, function: str, args: Sequence[Any], options: CallOptions | None = None
    ) -> Any:
        return await self._wait_for("call", function, args, options)

    def resource(self, id: str) -> Any:
        self._ask("resource", id)
        return _Resource(id, self._ask)

    def store(self, id: str) -> Use:
        self._ask("store", id)

        def use(verb: str, *args: Any, **options: Any) -> Any:
            if verb in _WRITES:
                check_value(*args[:2])  # here: on its way to the worker a tuple would become a list
            return self._wait_for("store.use", id, verb, args, options)

        return use


class _Resource:
    """A resource of the worker: its public methods, on plain data."""

    def __init__(self, id: str, ask: Ask) -> None:
        self._id = id
        self._ask = ask

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def use(*args: Any, **options: Any) -> Any:
            is_awaited, value = self._ask("resource.use", self._id, name, args, options)
            return _given(value) if is_awaited else value

        return use


async def _given(value: Any) -> Any:
    return value


class _Permissions:
    """See :class:`tasuki.contracts.context.Permissions`."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        return lambda *args, **options: self._ask("permissions", verb, args, options)
