"""LuaHandler: a ``function.lua`` entry as a handler; the context of its top level, which runs before any message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from types import CoroutineType
from typing import Any, NoReturn, cast

from tasuki.contracts.context import KnownFacts
from tasuki.contracts.handler import Context, Handler
from tasuki.contracts.state.job_context import wants_result
from tasuki.errors import HandlerError, HandlerNotFoundError, LuaError, LuaLimitError
from tasuki.handlers.lua import modules as catalogue
from tasuki.handlers.lua.host.budget import Budget
from tasuki.handlers.lua.host.errors import describe, limited, raised, returned
from tasuki.handlers.lua.host.outbound import LargeValueError, build
from tasuki.handlers.lua.host.runtime import Runtime
from tasuki.handlers.lua.host.scheduler import BEGINS, Concurrency
from tasuki.handlers.lua.script import LuaScript

_NAMES = {
    "publish": "queue.publish",
    "info": "queue.info",
    "pause": "queue.pause",
    "resume": "queue.resume",
    "call": "funcs.call",
    "resource": "store.get",
    "env": "env.get",
    "set_env": "env.set",
    "env_all": "env.get_all",
}
"""What scripts call the methods of a context's reach."""


class LoadingContext(Context):
    """Logs, and refuses everything that needs a running handler."""

    def __init__(self, function: str) -> None:
        refused: Any = _AtLoad()
        super().__init__(KnownFacts(function, logging.getLogger("tasuki.handlers.lua")), refused, refused)


class _AtLoad:
    """Settling and reach that refuse; there are no rights, and no call to check."""

    permissions = None

    def check_call(self, function: str) -> None:
        """The call itself is refused."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        return partial(refuse_at_load, _NAMES.get(name, name))


def refuse_at_load(what: str, *args: object) -> NoReturn:
    """Say that an operation needs a running handler."""
    raise HandlerError(
        f"{what} cannot be used while the script loads; call it in the handler", kind="Invalid", retryable=False
    )


DONE, DONE_TABLE, WAITS, RETURNED, RAISED, LIMITED = range(6)


class LuaHandler(Handler):
    """One script in one runtime, which all its messages share.

    Many messages may be under way at once, all in one event loop: a call that waits suspends only its own message.
    A script that does not wait runs without suspending at all, unless its body is a large one.
    """

    def __init__(self, script: LuaScript) -> None:
        super().__init__(script.id)
        self._script = script
        self._limits = script.limits
        self._runtime: Runtime | None = None
        self._operations: Mapping[str, catalogue.Operation] = {}
        self._turn: asyncio.Lock
        """To convert a large value: several at once would fill the memory of the runtime together."""

    own_clock: Callable[[], float] | None = None
    """See Runtime."""
    tired: Callable[[], None] | None = None
    """See Runtime; it sets ``beside``."""
    beside: Handler | None = None
    """Has all messages from when the script has kept the event loop for too long."""

    async def start(self) -> None:
        """Compile the script and run its top level.

        Raises:
            LuaSyntaxError: it does not compile; the message holds file and line.
            LuaError: its top level raised, or a module is missing.
            LuaLimitError: its top level spent a limit.
            HandlerNotFoundError: the chunk returns no function to call.
        """
        if self._runtime is None:
            self._runtime = self._boot()

    def operations(self, used: Iterable[str]) -> Mapping[str, catalogue.Operation]:
        """The operations that the script may request, by name; threads and child processes override this."""
        return catalogue.operations(used)

    def _boot(self) -> Runtime:
        script = self._script
        used = catalogue.closure(script.modules, script.imports)
        self._turn = asyncio.Lock()
        self._operations = self.operations(used)
        runtime = Runtime(self._limits, self.own_clock, self.tired)
        context, budget = LoadingContext(self.id), Budget(self._limits.time)
        try:
            reply = runtime.boot(script, catalogue.texts(used), catalogue.MODULES)
            while type(reply) is tuple and reply[0] == WAITS:
                reply = self._answer_at_load(runtime, reply, context)
                if type(reply) is tuple and reply[0] == WAITS:
                    budget.tell(runtime, reply[1])
        except runtime.lua_error as error:
            raise self._escaped(error) from None
        if type(reply) is tuple and reply[0] >= BEGINS:
            refuse_at_load("coroutine.yield")
        if type(reply) is tuple:
            failure = self._failure(reply)
            if reply[0] == RETURNED:
                raise HandlerNotFoundError(f"{self.id}: {failure.message}", kind="NotFound", retryable=False)
            raise failure
        return runtime

    def _answer_at_load(self, runtime: Runtime, reply: Sequence[Any], context: Context) -> Any:
        _, id, name, shape, *values = reply
        try:
            value = self._operations[name](context, *build(shape, values))
            if type(value) is CoroutineType:
                value.close()
                refuse_at_load(name)
        except Exception as error:
            return runtime.fail(id, describe(error))
        return runtime.resume(id, value)

    async def stop(self) -> None:
        """Free the runtime; what still waits in it ends without running on."""
        self._runtime = None

    async def handle(self, body: Any, context: Context) -> Any:
        """Handle one message. A table as result is converted only for a requester.

        Raises:
            HandlerError: the script returned an error as its second value.
            LuaError: it raised; ``traceback`` shows its lines.
            LuaLimitError: it spent a limit.
        """
        runtime = self._runtime
        if runtime is None:
            if self.beside is not None:
                return await self.beside.handle(body, context)
            runtime = self._runtime = self._boot()
        if wants_result(context):
            return await self.call((body,), context)
        try:
            try:
                reply = runtime.run(body)
            except LargeValueError:
                reply = runtime.run_table(*await self._slowly(runtime.in_steps([body])))
        except runtime.lua_error as error:
            raise self._escaped(error) from None
        if type(reply) is not tuple:
            return reply
        if reply[0] == WAITS or reply[0] >= BEGINS:
            budget = Budget(self._limits.time, Budget.of_caller(), used=runtime.spent(reply[1]))
            with budget.calling():
                reply = await self._serve(runtime, reply, context, budget)
        if self.beside is not None and _is_to_move(reply):
            del runtime  # its memory, before another one is filled
            return await self.beside.handle(body, context)
        return self._result(reply)

    async def handle_batch(self, bodies: list[Any], context: Context) -> Any:
        """Handle a batch; its result is converted, as it may be a list of one result for each message."""
        return await self.call((bodies,), context)

    async def call(self, args: Sequence[Any], context: Context) -> Any:
        """Call with any number of arguments and convert the result; errors as for ``handle``."""
        runtime = self._runtime
        if runtime is None:
            if self.beside is not None:
                return await self.beside.call(args, context)
            runtime = self._runtime = self._boot()
        budget = Budget.of_call(self.id, self._limits)
        with budget.calling():
            try:
                try:
                    reply = runtime.call(args, budget.used)
                except LargeValueError:
                    box, _ = await budget.measured(self._slowly(runtime.in_steps(list(args))))
                    reply = runtime.call_table(box, len(args), budget.used)
            except runtime.lua_error as error:
                raise self._escaped(error) from None
            if self.beside is None or not _is_to_move(reply):
                return self._result(await self._serve(runtime, reply, context, budget))
        del runtime
        return await self.beside.call(args, context)

    def _result(self, reply: Any) -> Any:
        if type(reply) is not tuple:
            return reply
        if reply[0] == DONE:
            return reply[1]
        if reply[0] == DONE_TABLE:
            return build(reply[1], reply[2:])[0]
        raise self._failure(reply)

    async def _serve(self, runtime: Runtime, reply: Any, context: Context, budget: Budget) -> Any:
        """Do what the script asks for until it ends."""
        try:
            while type(reply) is tuple and reply[0] == WAITS:
                reply = await self._answer(runtime, reply, context, budget)
            if type(reply) is tuple and reply[0] >= BEGINS:
                reply = await Concurrency(runtime, self._operations, context, budget).drive(reply)
        except runtime.lua_error as error:
            raise self._escaped(error) from None
        return reply

    async def _answer(self, runtime: Runtime, reply: Sequence[Any], context: Context, budget: Budget) -> Any:
        """Do what the script asks for, and let it run on; a cancel ends it here: nothing in it can catch that."""
        _, id, name, shape, *values = reply
        try:
            value = self._operations[name](context, *(build(shape, values) if shape else values))
            if type(value) is CoroutineType:
                value = await budget.measured(value)
        except Exception as error:
            budget.tell(runtime, id)
            return runtime.fail(id, describe(error))
        except BaseException:
            runtime.drop(id)
            raise
        budget.tell(runtime, id)
        try:
            return runtime.resume(id, value, in_steps=True)
        except LargeValueError:
            pass
        try:
            box, _ = await budget.measured(self._slowly(runtime.in_steps([value])))
        except HandlerError as error:
            return runtime.fail(id, describe(error))
        except BaseException:
            runtime.drop(id)
            raise
        budget.tell(runtime, id)
        return runtime.resume_table(id, box)

    async def _slowly(self, steps: Generator[None, None, tuple[Any, float]]) -> tuple[Any, float]:
        """The end of the steps, between which all others run. The next value waits until the caller awaits again."""
        async with self._turn:
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    return cast("tuple[Any, float]", end.value)
                await asyncio.sleep(0)

    def _failure(self, reply: Sequence[Any]) -> HandlerError:
        if reply[0] == RETURNED:
            return returned(reply)
        if reply[0] == RAISED:
            return raised(reply)
        if reply[1] == "memory":
            self._renew()
        return limited(reply, self._limits)

    def _escaped(self, error: Exception) -> LuaError:
        """For what left Lua outside of any script: practically always no memory for the host's own few bytes."""
        if isinstance(error, MemoryError) or "not enough memory" in str(error):
            self._renew()
            return LuaLimitError(self._limits.describe("memory"), limit="memory")
        return LuaError(f"{self.id}: {str(error)[:4000]}", kind="Internal", retryable=False)

    def _renew(self) -> None:
        """Give the next message a new runtime if the script keeps most of its memory: it would fail from then on."""
        if self._runtime is not None and self._runtime.is_worn():
            self._runtime = None


def _is_to_move(reply: Any) -> bool:
    return type(reply) is tuple and reply[0] == LIMITED and reply[1] == "patience"
