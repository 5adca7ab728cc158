"""Contexts of running functions: of a delivery, and of a function that another one calls."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from tasuki.consumers.reach.guarded import guarded
from tasuki.consumers.reach.host import Host
from tasuki.contracts.context import CallOptions, KnownFacts, Permissions
from tasuki.contracts.handler import Context
from tasuki.contracts.state.following import CHAIN, Later, StartedGroup, unfollowed
from tasuki.contracts.state.jobs import CancelOutcome, OpenTransaction, Steps, Verb
from tasuki.contracts.state.store_handle import Use, checked_store, user_of
from tasuki.errors import HandlerError, HandlerNotFoundError
from tasuki.message import HeaderValue
from tasuki.observe.custom import record
from tasuki.queues.messages.headers import check_reply_to
from tasuki.units import When

if TYPE_CHECKING:
    from tasuki.security.guard import Guard


class Site(Protocol):
    """Where a function runs: its project, its id, and its rights now (None: all)."""

    @property
    def host(self) -> Host: ...
    @property
    def function_id(self) -> str: ...
    @property
    def guard(self) -> Guard | None: ...


class HostReach:
    """The reach of a function through its host; bare names belong to the function's namespace.

    This is where the rights of handlers are checked, before anything else: a queue that is forbidden and one that does
    not exist answer alike.
    """

    __slots__ = ("_site",)

    def __init__(self, site: Site) -> None:
        self._site = site

    @property
    def guard(self) -> Guard | None:
        """What the function may do; None: everything."""
        return self._site.guard

    @property
    def permissions(self) -> Permissions:
        return self._site.host.permissions_of(self.guard)

    @property
    def _namespace(self) -> str:
        return self._site.function_id.partition(":")[0]

    def _id(self, reference: str) -> str:
        return reference if ":" in reference else f"{self._namespace}:{reference}"

    async def publish(
        self, queue: str, body: Any, headers: Mapping[str, HeaderValue] | None, options: Mapping[str, Any]
    ) -> str:
        id = self._id(queue)
        if (guard := self.guard) is not None:
            guard.publish(id)
            check_reply_to(guard, id, headers)
        if not options.keys().isdisjoint(CHAIN):
            if (plain := unfollowed(options)) is None:
                return await self._site.host.chain_from(self.guard, self._id, id, body, headers, options)
            options = plain
        return await self._site.host.publish_from(id, body, headers, options)

    async def group(
        self, members: Sequence[Later], then: Later | str | None, on_error: Later | str | None, id: str | None
    ) -> StartedGroup:
        return await self._site.host.group_from(self.guard, self._id, members, then, on_error, id)

    def wait_for(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._site.host.wait_for(work)

    def _callable(self, function: str) -> str:
        id = self._id(function)
        if (guard := self.guard) is not None:
            guard.require("funcs.call", id, f"not allowed: {id}")
        return id

    def check_call(self, function: str) -> None:
        id = self._callable(function)
        if not self._site.host.has_function(id):
            raise HandlerNotFoundError(f"function {id!r} is not defined", kind="NotFound", retryable=False)

    async def call(
        self, caller: Context, function: str, args: Sequence[Any], options: CallOptions | None = None
    ) -> Any:
        id = self._callable(function)
        return await self._site.host.call_from(caller if options is None else self._changed(caller, options), id, args)

    def _changed(self, caller: Context, options: CallOptions) -> Context:
        """The caller's context with these options, if it may use them."""
        values, actor, scope = options
        if values is not None and (not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values)):
            raise HandlerError("values are a mapping with texts as keys", kind="Invalid", retryable=False)
        guard, is_other = self.guard, actor is not None or scope is not None
        if guard is not None and values is not None:
            guard.require("funcs.context", "context", "not allowed to call functions with custom context")
        if guard is not None and is_other:
            guard.require("funcs.security", "security", "not allowed to call functions with custom security context")
        if is_other:
            guard = self._site.host.guard_as(guard, actor, scope)
        function = caller.delivery.function
        facts = CalledFacts(caller, function, {**caller.delivery.values, **(values or {})})
        return Context(facts, caller._settling, HostReach(CallSite(self._site.host, function, guard)))

    async def info(self, queue: str) -> Mapping[str, Any]:
        id = self._id(queue)
        if (guard := self.guard) is not None:
            guard.require("queue.info.queue", id, f"not allowed to see queue: {id}")
        return await self._site.host.info_of(id)

    async def cancel(self, queue: str, id: str) -> CancelOutcome:
        return await self._site.host.cancel_from(self.guard, self._id(queue), id)

    async def signal(self, event: str, key: str | int, value: Any) -> bool:
        return await self._site.host.signal_from(self.guard, self._site.function_id, event, key, value)

    async def pause(self, queue: str, due: When | None, reason: str) -> Mapping[str, Any]:
        return await self._site.host.pause_from(self._id(queue), due, reason, self.guard, self._site.function_id)

    async def resume(self, queue: str) -> bool:
        return await self._site.host.resume_from(self._id(queue), self.guard, self._site.function_id)

    def resource(self, id: str) -> Any:
        id = self._id(id)
        if (guard := self.guard) is None:
            return self._site.host.resource_of(id)
        guard.require("store.get", id, f"not allowed to access store: {id}")
        return guarded(self._site.host.resource_of(id), id, guard)

    def store(self, id: str) -> Use:
        return user_of(checked_store(self.resource(id), id))

    def env(self, name: str) -> str | None:
        self._require_env("env.get", name, "access")
        return self._site.host.settings.get(name, self._namespace)

    def measure(self, verb: Verb, function: str, name: str, n: float, labels: Mapping[str, str] | None) -> None:
        record(verb, function, name, n, labels)

    def set_env(self, name: str, value: str) -> None:
        self._require_env("env.set", name, "set")
        self._site.host.settings.set(name, value, self._namespace)

    def env_all(self) -> Mapping[str, str]:
        known, guard = self._site.host.settings.all(self._namespace), self.guard
        if guard is None:
            return known
        return {
            name: value
            for name, value in known.items()
            if guard.decide("env.get", name).allowed and not self._other_denied(guard, "env.get", name)
        }

    def _require_env(self, action: str, name: str, verb: str) -> None:
        """Who may not have a variable by one of its names may not have it by another either."""
        if (guard := self.guard) is None:
            return
        for each in (name, *self._other_denied(guard, action, name)):
            guard.require(action, each, f"not allowed to {verb} environment variable: {name}")

    def _other_denied(self, guard: Guard, action: str, name: str) -> list[str]:
        others = self._site.host.settings.names(name, self._namespace)
        return [other for other in others if guard.decide(action, other).is_denied]


def call_context(host: Host, function: str, caller: Context | None = None, guard: Guard | None = None) -> Context:
    """The context of a called function: its caller's delivery and rights, if there is a caller, and its own id.

    ``guard``: the rights of a function that no handler of this process calls.
    """
    reach = HostReach(CallSite(host, function, guard, caller))
    if caller is None:
        logger = logging.getLogger(f"tasuki.function.{function}")
        return Context(KnownFacts(function, logger), NothingToSettle(function), reach)
    return Context(CalledFacts(caller, function), caller._settling, reach)


@dataclass(slots=True)
class CallSite:
    """Where a called function runs."""

    host: Host
    function_id: str
    own_guard: Guard | None
    caller: Context | None = None

    @property
    def guard(self) -> Guard | None:
        """The caller's rights, as they are now."""
        if self.caller is None or not isinstance(self.caller._reach, HostReach):
            return self.own_guard
        return self.caller._reach.guard


class CalledFacts:
    """The caller's facts, with the id of the called function, and its values if they differ."""

    def __init__(self, caller: Context, function: str, values: Mapping[str, Any] | None = None) -> None:
        self._caller = caller
        self.function = function
        if values is not None:
            self.values = values

    def __getattr__(self, name: str) -> Any:
        return getattr(self._caller.delivery, name)


class NothingToSettle:
    """The settling of a function that was called without a delivery."""

    in_transaction = False

    def __init__(self, function: str) -> None:
        self._function = function

    def _refuse(self, *args: object) -> NoReturn:
        raise HandlerError(
            f"function {self._function!r} was called, not delivered to: there is no message to settle",
            kind="Invalid",
            retryable=False,
        )

    def progress(self, done: float, total: float | None, note: str) -> None:
        """Keep nothing: there is no job."""

    def steps(self) -> Steps:
        """Raise HandlerError: there is no message to keep them for."""
        problem = f"function {self._function!r} was called, not delivered to: there is no message whose steps to record"
        raise HandlerError(problem, kind="Invalid", retryable=False)

    def transaction(self, connection: Any, *, sync: bool) -> AbstractAsyncContextManager[OpenTransaction]:
        """Raise HandlerError: there is no message to ack."""
        problem = f"function {self._function!r} was called, not delivered to: there is no message that it would ack"
        raise HandlerError(problem, kind="Invalid", retryable=False)

    ack = nack = reject = snooze = _refuse
