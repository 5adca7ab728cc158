"""ProjectHost: the parts of a project that running handlers use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from tasuki.app.flow.requests import ForeignReplyQueues, is_reply_id
from tasuki.app.state.finding import state_of
from tasuki.contracts.context import Plain
from tasuki.contracts.driver import Driver
from tasuki.contracts.handler import Context, Handler
from tasuki.contracts.state.following import Later, StartedGroup
from tasuki.contracts.state.jobs import CancelOutcome
from tasuki.errors import HandlerError, HandlerNotFoundError, QueueNotFoundError
from tasuki.kinds.check.project import Project
from tasuki.kinds.check.rights import Rights
from tasuki.kinds.settings import Settings
from tasuki.message import HeaderValue, Message
from tasuki.queues.messages.headers import reply_queue_id
from tasuki.queues.queue import Queue
from tasuki.registry.entry import did_you_mean
from tasuki.state.shared import SharedState, States
from tasuki.units import When

if TYPE_CHECKING:
    from tasuki.consumers.reach.host import FullId
    from tasuki.consumers.reach.permissions import GuardedPermissions
    from tasuki.flow.group_records import MemberEnd
    from tasuki.kinds.stores import Opened
    from tasuki.security.guard import Guard


class ProjectHost:
    """The half of an Assembly that is the :class:`tasuki.consumers.reach.host.Host` of its handlers."""

    project: Project
    settings: Settings
    rights: Rights
    states: States
    drivers: dict[str, Driver]
    queues: dict[str, Queue]
    handlers: dict[str, Handler]
    resources: dict[str, Any]
    reply_queues: ForeignReplyQueues
    loop: asyncio.AbstractEventLoop | None = None

    def queue(self, id: str) -> Queue:
        """The queue of an id. Raises QueueNotFoundError, which names similar ids."""
        queue = self.queues.get(id)
        if queue is None:
            raise QueueNotFoundError(_not_found("queue", id, self.queues), queue=id)
        return queue

    def state_of(self, queue: str) -> SharedState | None:
        """The state of a queue by its id; None: neither its driver nor its entry has a store for it."""
        return state_of(self.project, self.drivers, self.states, queue)

    def states_of_queues(self) -> list[SharedState]:
        """The states that processes share, of all queues, each once."""
        found = dict.fromkeys(self.state_of(id) for id in self.queues)
        return [state for state in found if state is not None and state.driver.capabilities.multi_process]

    def queue_of_application(self, id: str) -> Queue:
        """The queue of an id, behind the application's guard if there is one.

        Raises:
            PolicyDeniedError: there is no such queue, and the application could not publish to it if there were.
            QueueNotFoundError: there is no such queue.
        """
        guard = self.rights.application
        return self.queue(id) if guard is None else self.queue_for(guard, id)

    def queue_for(self, guard: Guard | None, id: str) -> Queue:
        """The queue of an id behind a guard; None: all is allowed. Raises as ``queue_of_application``."""
        if guard is None:
            return self.queue(id)
        if id not in self.queues:
            guard.publish(id)
        return self.queue(id).guarded_by(guard)

    def queue_of_replies(self, id: str) -> Queue:
        """The declared queue that the application receives replies from.

        Raises:
            PolicyDeniedError: the application may not consume from it, or not publish to it, as its requests do.
            QueueNotFoundError: there is no such queue.
        """
        guard = self.rights.application
        if guard is not None:
            guard.consume(id)
            guard.publish(id)
        return self.queue(id)

    async def publish_from(
        self, queue: str, body: Any, headers: Mapping[str, HeaderValue] | None, options: Mapping[str, Any]
    ) -> str:
        return (await self.queue(queue).publish(body, headers, **options)).id

    async def chain_from(
        self,
        guard: Guard | None,
        full_id: FullId,
        queue: str,
        body: Any,
        headers: Mapping[str, HeaderValue] | None,
        options: Mapping[str, Any],
    ) -> str:
        from tasuki.app.flow.groups import Grouping

        return (await Grouping(self, guard, full_id).publish(queue, body, headers, options)).id

    async def group_from(
        self,
        guard: Guard | None,
        full_id: FullId,
        members: Sequence[Later],
        then: Later | str | None,
        on_error: Later | str | None,
        id: str | None,
    ) -> StartedGroup:
        from tasuki.app.flow.groups import Grouping

        return await Grouping(self, guard, full_id).start(members, then, on_error, id)

    @asynccontextmanager
    async def reply_queue(self, name: str, request: Queue, guard: Guard | None) -> AsyncIterator[Queue]:
        id = reply_queue_id(name, request.id)
        if guard is not None:
            guard.publish(id)
        if id not in self.queues and is_reply_id(id):
            async with self.reply_queues.lend(id, request) as queue:
                yield queue
        else:
            yield self.queue(id)

    async def end_member(self, header: object, ended: MemberEnd) -> None:
        from tasuki.app.flow.groups import end_member

        await end_member(self, header, ended)

    async def keep_member(self, queue: str, message: Message, seconds: float) -> None:
        from tasuki.app.flow.groups import keep_member

        await keep_member(self, queue, message, seconds)

    async def call_from(self, context: Context | None, function: str, args: Sequence[Any]) -> Any:
        guard = self.rights.application  # without a caller, the application calls
        if context is None and guard is not None:
            guard.require("funcs.call", function, f"not allowed: {function}")
        handler = self.handlers.get(function)
        if handler is None:
            text = _not_found("function", function, self.handlers)
            raise HandlerNotFoundError(text, kind="NotFound", retryable=False, details={"target": function})
        from tasuki.consumers.reach.host_reach import call_context

        await handler.start()
        return await handler.call(args, call_context(self, function, context, guard))

    def has_function(self, id: str) -> bool:
        return id in self.handlers

    async def info_of(self, queue: str) -> Mapping[str, Any]:
        return await self.queue(queue).info()

    async def cancel_from(self, guard: Guard | None, queue: str, id: str) -> CancelOutcome:
        from tasuki.app.state.cancelling import cancel_in

        return (await cancel_in(self, guard, queue, [id])).outcome

    async def signal_from(self, guard: Guard | None, actor: str, event: str, key: str | int, value: Any) -> bool:
        from tasuki.app.flow.signalling import Signalling

        return await Signalling(self, guard, actor).signal(event, key, value)

    async def pause_from(
        self, queue: str, due: When | None, reason: str, guard: Guard | None, actor: str
    ) -> Mapping[str, Any]:
        from tasuki.app.state.pausing import Steering, Target

        steering = Steering(self, guard, actor)
        return (await steering.pause(Target("queue", queue), due, reason, may_shorten=False)).as_dict()

    async def resume_from(self, queue: str, guard: Guard | None, actor: str) -> bool:
        from tasuki.app.state.pausing import Steering, Target

        return await Steering(self, guard, actor).resume(Target("queue", queue)) is not None

    def resource_of(self, id: str) -> Any:
        if id not in self.resources:
            text = _not_found("resource", id, self.resources)
            raise HandlerError(text, kind="NotFound", retryable=False)
        return self.resources[id]

    def application_resource(self, id: str) -> Any:
        """The object behind a resource entry, behind the application's guard if there is one."""
        guard = self.rights.application
        if guard is None:
            return self.resource_of(id)
        from tasuki.consumers.reach.guarded import guarded

        guard.require("store.get", id, f"not allowed to access store: {id}")
        return guarded(self.resource_of(id), id, guard)

    def opener(self, driver: str, name: str) -> Opened:
        """How to open a store of a driver."""
        return self.states.of(self.drivers[driver], name).store

    def remember_loop(self) -> None:
        """The drivers are used on the running loop, if there is one."""
        with suppress(RuntimeError):
            self.loop = asyncio.get_running_loop()

    def wait_for(self, work: Coroutine[Any, Any, Any]) -> Any:
        if self.loop is None or self.loop.is_closed():
            work.close()
            raise HandlerError("the app is not open", kind="Unavailable", retryable=True)
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def permissions_of(self, guard: Guard | None) -> GuardedPermissions:
        from tasuki.consumers.reach.permissions import GuardedPermissions

        return GuardedPermissions(guard, self.rights.policies, self.rights.groups)

    def guard_as(self, guard: Guard | None, actor: Plain | None, scope: Sequence[str] | None) -> Guard:
        return self.rights.other(guard, actor, scope)


def _not_found(what: str, id: str, known: Mapping[str, Any]) -> str:
    hint = did_you_mean(id, known)
    return f"{what} {id!r} is not defined" + (f"; {hint}" if hint else "")
