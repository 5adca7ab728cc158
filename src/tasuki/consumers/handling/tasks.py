"""Tasks: the functions of one consumer by name, and the holders of their deliveries."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from tasuki.consumers.handling.callee import Callee
from tasuki.consumers.settling.verdict import RetryPolicy, Verdict
from tasuki.contracts.handler import Context, Handler
from tasuki.errors import HandlerError, StaleReceiptError
from tasuki.handlers.threads import is_from_outside
from tasuki.observe.log import DeliveryLogger
from tasuki.queues.messages.rules import MessageRules
from tasuki.queues.queue import Queue

if TYPE_CHECKING:
    from tasuki.consumers.delivery import Delivery, Holder

_log = logging.getLogger("tasuki.consumer")


@dataclass(frozen=True, slots=True)
class ConsumerTask:
    """One function by name, with its own rules; ``handler_timeout`` in seconds."""

    handler: Handler
    policy: RetryPolicy
    handler_timeout: float | None = None
    on_give_up: Handler | None = None


class TaskHandlers(Handler):
    """The handler of a consumer with tasks: calls the task that the header ``message_type`` names.

    ``default`` handles the messages that name none; None: they are refused like messages of an unknown task.
    """

    def __init__(self, id: str, tasks: Mapping[str, ConsumerTask], default: Handler | None = None) -> None:
        super().__init__(id if default is None else default.id)
        self.tasks = tasks
        self.default = default

    @property
    def handlers(self) -> list[Handler]:
        """All handlers that it needs."""
        default = [] if self.default is None else [self.default]
        of_tasks = [each for task in self.tasks.values() for each in (task.handler, task.on_give_up) if each]
        return list(dict.fromkeys([*default, *of_tasks]))

    async def start(self) -> None:
        """Start each function. Raises HandlerError: the first that cannot be used."""
        for handler in self.handlers:
            await handler.start()

    def add_places(self, count: int) -> None:
        """Each function may be the one that all messages name."""
        for handler in self.handlers:
            handler.add_places(count)

    async def handle(self, body: Any, context: Context) -> Any:
        """Never called: the executor chooses the function before it decodes the body."""
        raise NotImplementedError


class _GivenUp:
    """The settling of a message that is given up: its dead letter and its ack come after ``on_give_up``."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def __getattr__(self, name: str) -> Any:
        """All else is the delivery's."""
        return getattr(self._delivery, name)

    def transaction(self, connection: Any, *, sync: bool) -> NoReturn:
        """Raise HandlerError: there is no ack that could commit with it."""
        raise _over("context.transaction() commits the ack of a message", "write its rows in a transaction of your own")

    def steps(self) -> NoReturn:
        """Raise HandlerError: nothing goes on after them."""
        raise _over("steps, sleeps, waits and groups with a name are for a message that may go on", "do without them")


def _over(what: str, remedy: str) -> HandlerError:
    problem = (
        f"{what}, and this one is given up: its dead letter and its ack follow on_give_up; {remedy}, such that doing "
        "it twice changes nothing: on_give_up is called again if the worker dies before the ack"
    )
    return HandlerError(problem, kind="Invalid", retryable=False)


class RuledHolder:
    """The holder of a delivery whose message has rules of its own."""

    def __init__(self, holder: Holder, rules: MessageRules) -> None:
        self._holder = holder
        self.own_limit = rules.handler_timeout
        policy = holder.policy
        self.policy = replace(
            policy,
            max_attempts=rules.attempts or policy.max_attempts,
            backoff=rules.delays or policy.backoff,
            rules=rules.failures or policy.rules,
        )

    def __getattr__(self, name: str) -> Any:
        """All else is the consumer's, or the task's."""
        return getattr(self._holder, name)


class TaskHolder:
    """The holder of the deliveries of one task: the run of its consumer, with the function and rules of the task."""

    def __init__(self, run: Holder, task: ConsumerTask, queue: Queue) -> None:
        self._run = run
        self._queue = queue
        self._on_give_up = task.on_give_up
        self._handler = task.handler
        self._limit = task.handler_timeout
        self.policy = task.policy
        self.function_id = task.handler.id
        self.give_up = None if task.on_give_up is None else self._give_up
        self.callee: Callee

    def __getattr__(self, name: str) -> Any:
        """All else is the run's."""
        return getattr(self._run, name)

    def logger_of(self, delivery: Delivery) -> logging.LoggerAdapter[Any]:
        """See :class:`tasuki.consumers.delivery.Holder`."""
        return DeliveryLogger(logging.getLogger(f"tasuki.function.{self.function_id}"), delivery.log_fields)

    async def _give_up(self, delivery: Delivery, verdict: Verdict) -> None:
        """Call ``on_give_up`` with the arguments and the error; its own errors are logged.

        Raises:
            DriverError: of a suspect, the start of the call cannot be recorded.
        """
        assert self._on_give_up is not None
        signer = self._queue.signer
        if signer is not None and signer.verify(delivery.received):
            return  # forged, whatever else is wrong with it
        try:
            body = self.callee.read(delivery.received)
        except BaseException as problem:
            if is_from_outside(problem):
                raise
            return  # its dead letter says why it cannot be read
        if not await self._may_call(delivery):
            return
        error = verdict.cause or HandlerError(verdict.error, kind=verdict.kind, retryable=verdict.retryable)
        settling: Any = _GivenUp(delivery)
        context = Context(delivery, settling, self.callee.reach)
        try:
            async with asyncio.timeout(self._limit):
                await self._on_give_up.give_up(self._handler.all_arguments(body), error, context)
        except Exception as problem:
            _log.exception(
                "on_give_up %s failed; the message is dead-lettered all the same",
                self._on_give_up.id,
                exc_info=problem,
                extra=delivery.log_fields(),
            )

    async def _may_call(self, delivery: Delivery) -> bool:
        """Record that ``on_give_up`` of a suspect begins, which may end the worker too; False: it has done so."""
        received, driver, spec = delivery.received, self._queue.driver, self._queue.spec
        if not received.suspect:
            return True
        if self.policy.exhausted(received.attempt - 1):
            assert self._on_give_up is not None
            _log.error(
                "on_give_up %s is not called again: the worker died in it; the message is dead-lettered",
                self._on_give_up.id,
                extra=delivery.log_fields(),
            )
            return False
        if await driver.start(spec.name, [received.receipt]):
            raise StaleReceiptError("the lease was lost", driver=driver.name, queue=self._queue.id)
        return True
