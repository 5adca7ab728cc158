"""Contexts: what every running function is given, and the one of a function that is called, not delivered to."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasuki.consumers.reach.guarded import guarded
from tasuki.consumers.reach.host import Host
from tasuki.contracts.handler import NO_VALUES, Context
from tasuki.contracts.permissions import Permissions, Plain
from tasuki.errors import HandlerError, HandlerNotFoundError
from tasuki.message import HeaderValue, Message
from tasuki.queues.messages.reply_to import check_reply_to

if TYPE_CHECKING:
    from tasuki.security.guard import Guard


class HostContext(Context):
    """The part of a context that reaches the rest of the project; bare names are of the function's namespace.

    This is where the rights of handlers are checked, before anything else: a queue that is forbidden and one that does
    not exist answer alike.
    """

    __slots__ = ()

    @property
    def _host(self) -> Host:
        raise NotImplementedError

    @property
    def guard(self) -> Guard | None:
        """What the function may do; None: whatever it likes."""
        return None

    @property
    def permissions(self) -> Permissions:
        return self._host.permissions_of(self.guard)

    def _id(self, reference: str) -> str:
        return reference if ":" in reference else f"{self.function.partition(':')[0]}:{reference}"

    async def publish(
        self, queue: str, body: Any, headers: Mapping[str, HeaderValue] | None = None, **options: Any
    ) -> str:
        id = self._id(queue)
        if (guard := self.guard) is not None:
            guard.publish(id)
            check_reply_to(guard, id, headers)
        return await self._host.publish_from(id, body, headers, options)

    def _callable(self, function: str) -> str:
        id = self._id(function)
        if (guard := self.guard) is not None:
            guard.require("funcs.call", id, f"not allowed: {id}")
        return id

    def check_call(self, function: str) -> None:
        id = self._callable(function)
        if not self._host.has_function(id):
            raise HandlerNotFoundError(f"function {id!r} is not defined", kind="NotFound", retryable=False)

    async def call(self, function: str, *args: Any) -> Any:
        return await self._host.call_from(self, self._callable(function), args)

    async def call_with(
        self,
        function: str,
        *args: Any,
        values: Mapping[str, Any] | None = None,
        actor: Plain | None = None,
        scope: Sequence[str] | None = None,
    ) -> Any:
        id = self._callable(function)
        return await self._host.call_from(self._changed(values, actor, scope), id, args)

    def _changed(self, values: Mapping[str, Any] | None, actor: Plain | None, scope: Sequence[str] | None) -> Context:
        """This context under other circumstances, if it may have them."""
        if values is not None and (not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values)):
            raise HandlerError("values are a mapping with texts as keys", kind="Invalid", retryable=False)
        guard, is_other = self.guard, actor is not None or scope is not None
        if guard is not None and values is not None:
            guard.require("funcs.context", "context", "not allowed to call functions with custom context")
        if guard is not None and is_other:
            guard.require("funcs.security", "security", "not allowed to call functions with custom security context")
        if is_other:
            guard = self._host.guard_as(guard, actor, scope)
        return ChangedContext(self._host, self, guard, {**self.values, **(values or {})})

    async def info(self, queue: str) -> Mapping[str, Any]:
        id = self._id(queue)
        if (guard := self.guard) is not None:
            guard.require("queue.info.queue", id, f"not allowed to see queue: {id}")
        return await self._host.info_of(id)

    def resource(self, id: str) -> Any:
        id = self._id(id)
        if (guard := self.guard) is None:
            return self._host.resource_of(id)
        guard.require("store.get", id, f"not allowed to access store: {id}")
        return guarded(self._host.resource_of(id), id, guard)

    def env(self, name: str) -> str | None:
        self._require_env("env.get", name, "access")
        return self._host.env_of(name, self.function.partition(":")[0])

    def set_env(self, name: str, value: str) -> None:
        self._require_env("env.set", name, "set")
        self._host.set_env_of(name, value, self.function.partition(":")[0])

    def env_all(self) -> Mapping[str, str]:
        known, guard = self._host.env_names(self.function.partition(":")[0]), self.guard
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
        others = self._host.names_of_env(name, self.function.partition(":")[0])
        return [other for other in others if guard.decide(action, other).is_denied]


class CallContext(HostContext):
    """The context of a called function: the caller's delivery, if there is one, and the callee's own id.

    ``guard`` is whose rights it has; a function that a handler calls has those of the handler.
    """

    __slots__ = ("_function", "_guard", "_of_host", "_parent")

    def __init__(self, host: Host, function: str, parent: Context | None = None, guard: Guard | None = None) -> None:
        self._of_host = host
        self._function = function
        self._parent = parent
        self._guard = guard

    @property
    def _host(self) -> Host:
        return self._of_host

    @property
    def guard(self) -> Guard | None:
        return self._parent.guard if isinstance(self._parent, HostContext) else self._guard

    @property
    def function(self) -> str:
        return self._function

    @property
    def values(self) -> Mapping[str, Any]:
        return self._parent.values if self._parent else NO_VALUES

    @property
    def message(self) -> Message | None:
        return self._parent.message if self._parent else None

    @property
    def attempt(self) -> int:
        return self._parent.attempt if self._parent else 0

    @property
    def queue(self) -> str:
        return self._parent.queue if self._parent else ""

    @property
    def consumer(self) -> str:
        return self._parent.consumer if self._parent else ""

    @property
    def stopping(self) -> bool:
        return self._parent.stopping if self._parent else False

    @property
    def lease_lost(self) -> bool:
        return self._parent.lease_lost if self._parent else False

    @property
    def logger(self) -> logging.Logger | logging.LoggerAdapter[Any]:
        if self._parent:
            return self._parent.logger
        return logging.getLogger(f"tasuki.function.{self._function}")

    def ack(self) -> None:
        self._delivery().ack()

    def nack(self, delay: float | str | None = None) -> None:
        self._delivery().nack(delay)

    def reject(self, reason: str = "") -> None:
        self._delivery().reject(reason)

    def snooze(self, after: float | str) -> None:
        self._delivery().snooze(after)

    def _delivery(self) -> Context:
        if self._parent is None:
            raise HandlerError(
                f"function {self._function!r} was called, not delivered to: there is no message to settle",
                kind="Invalid",
                retryable=False,
            )
        return self._parent


class ChangedContext(CallContext):
    """A function's own context under other circumstances, for what it calls."""

    __slots__ = ("_values",)

    def __init__(self, host: Host, of: HostContext, guard: Guard | None, values: Mapping[str, Any]) -> None:
        super().__init__(host, of.function, of, guard)
        self._values = values

    @property
    def guard(self) -> Guard | None:
        return self._guard

    @property
    def values(self) -> Mapping[str, Any]:
        return self._values
