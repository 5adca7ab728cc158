"""What the tests of consuming are built from: scripted handlers, a host, queues and consumers in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tasuki.backoff import Backoff
from tasuki.clock import Clock
from tasuki.consumers.consumer import Consumer
from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.fetching.keeper import Holding, Keeper
from tasuki.consumers.handling.shared import Share
from tasuki.consumers.reach.host import FullId
from tasuki.consumers.reach.host_reach import HostReach
from tasuki.consumers.reach.permissions import GuardedPermissions
from tasuki.consumers.run import Run as ConsumerRun
from tasuki.consumers.settling.verdict import RetryPolicy
from tasuki.contracts.context import Plain
from tasuki.contracts.driver import Driver, QueueSpec
from tasuki.contracts.handler import Context, Handler
from tasuki.contracts.state.following import Later, StartedGroup
from tasuki.contracts.state.jobs import CancelOutcome
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import HandlerError, QueueNotFoundError, StopTimeoutError
from tasuki.flow.group_records import MemberEnd
from tasuki.message import HeaderValue, Message
from tasuki.queues.messages.codec import Codecs
from tasuki.queues.queue import Queue, QueuePolicy
from tasuki.security.actor import Actor
from tasuki.security.guard import Guard
from tasuki.state.shared import SharedState
from tasuki.testing.steps import at_once
from tasuki.units import When
from tests.support.narrow import present
from tests.unit.consumers.model import ModelBroker, ModelDriver

Run = Callable[[Any, Context], Awaitable[Any]]

STEADY = Backoff(initial_delay=1.0, max_delay=8.0, backoff_factor=2.0, jitter=0.0)


def now() -> float:
    return asyncio.get_running_loop().time()


def clock_of_loop() -> Clock:
    clock: Clock = asyncio.get_running_loop().clock  # type: ignore[attr-defined]
    return clock


class ScriptedHandler(Handler):
    """Does what ``run`` says; keeps every (body, attempt) it was given, and the contexts."""

    def __init__(self, run: Run | None = None, id: str = "app:handle") -> None:
        super().__init__(id)
        self.run = run
        self.seen: list[tuple[Any, int]] = []
        self.contexts: list[Any] = []
        self.starts = 0
        self.running = 0
        self.most_running = 0
        self.start_error: Exception | None = None

    async def start(self) -> None:
        self.starts += 1
        if self.start_error is not None:
            raise self.start_error

    async def handle(self, body: Any, context: Context) -> Any:
        self.seen.append((body, context.attempt))
        self.contexts.append(context)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self.run(body, context) if self.run else None
        finally:
            self.running -= 1


@dataclass
class FakeVariables:
    calls: list[tuple[Any, ...]]

    def get(self, name: str, namespace: str) -> str | None:
        return f"{namespace}/{name}"

    def set(self, name: str, value: str, namespace: str) -> None:
        self.calls.append(("set_env", name, value, namespace))

    def names(self, name: str, namespace: str) -> Sequence[str]:
        return ("SECRET", "app:secret") if name in ("SECRET", "secret", "app:secret") else ()

    def all(self, namespace: str) -> Mapping[str, str]:
        return {"OPEN": "1", "CLOSED": "2"}


@dataclass
class FakeHost:
    """Keeps what handlers ask of the rest of the project."""

    queues: dict[str, Queue] = field(default_factory=dict)
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    async def publish_from(
        self, queue: str, body: Any, headers: Mapping[str, HeaderValue] | None, options: Mapping[str, Any]
    ) -> str:
        self.calls.append(("publish", queue, body, headers, dict(options)))
        if queue in self.queues:
            return (await self.queues[queue].publish(body, headers, **options)).id
        return "id"

    async def chain_from(
        self, guard: Guard | None, full_id: FullId, queue: str, body: Any, headers: Any, options: Mapping[str, Any]
    ) -> str:
        self.calls.append(("chain", guard, full_id("jobs"), queue, body, headers, dict(options)))
        return "id"

    async def group_from(
        self,
        guard: Guard | None,
        full_id: FullId,
        members: Sequence[Later],
        then: Later | str | None,
        on_error: Later | str | None,
        id: str | None,
    ) -> StartedGroup:
        self.calls.append(("group", guard, full_id("jobs"), members, then, on_error, id))
        return StartedGroup("g", [])

    @asynccontextmanager
    async def reply_queue(self, name: str, request: Queue, guard: Any) -> AsyncIterator[Queue]:
        self.calls.append(("reply", name, request.id))
        if guard is not None:
            guard.publish(name)
        if name not in self.queues:
            raise QueueNotFoundError(f"queue {name!r} is not defined", queue=name)
        yield self.queues[name]

    async def end_member(self, header: object, ended: MemberEnd) -> None:
        self.calls.append(("end", header, ended))

    async def keep_member(self, queue: str, message: Message, seconds: float) -> None:
        self.calls.append(("keep", queue, message.id, seconds))

    async def call_from(self, context: Context | None, function: str, args: Sequence[Any]) -> Any:
        self.calls.append(("call", context, function, args))
        return "result"

    async def info_of(self, queue: str) -> Mapping[str, Any]:
        self.calls.append(("info", queue))
        return {"queue": queue}

    async def cancel_from(self, guard: Guard | None, queue: str, id: str) -> CancelOutcome:
        self.calls.append(("cancel", guard, queue, id))
        return "waiting"

    async def signal_from(self, guard: Guard | None, actor: str, event: str, key: str | int, value: Any) -> bool:
        self.calls.append(("signal", guard, actor, event, key, value))
        return True

    async def pause_from(
        self, queue: str, due: When | None, reason: str, guard: Guard | None, actor: str
    ) -> Mapping[str, Any]:
        self.calls.append(("pause", queue, due, reason, guard, actor))
        return {"until": None, "actor": actor, "at": 0.0, "reason": reason}

    async def resume_from(self, queue: str, guard: Guard | None, actor: str) -> bool:
        self.calls.append(("resume", queue, guard, actor))
        return True

    def resource_of(self, id: str) -> Any:
        raise HandlerError(id, kind="NotFound")

    def wait_for(self, work: Coroutine[Any, Any, Any]) -> Any:
        return at_once(work)

    def has_function(self, id: str) -> bool:
        return not id.endswith("missing")

    def guard_as(self, guard: Guard | None, actor: Plain | None, scope: Sequence[str] | None) -> Guard:
        self.calls.append(("guard", guard, actor, scope))
        return Guard(Actor(actor["id"]) if actor else None)

    def permissions_of(self, guard: Guard | None) -> GuardedPermissions:
        return GuardedPermissions(guard, {}, {})

    @property
    def settings(self) -> FakeVariables:
        return FakeVariables(self.calls)


class LoopKeeper(Keeper):
    """A keeper on the test's own loop, so that it lives in the same virtual time."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._renewing: dict[Holding, asyncio.Task[None]] = {}

    def add(self, holding: Holding) -> None:
        if holding.lease is not None:
            self._renewing[holding] = asyncio.get_running_loop().create_task(self._renew(holding))

    def remove(self, holding: Holding) -> None:
        if holding in self._renewing:
            self._renewing.pop(holding).cancel()

    def check(self) -> None:
        """It comes soon enough."""

    async def _renew(self, holding: Holding) -> None:
        while True:
            await self.renew(holding)
            await asyncio.sleep(holding.period)


def make_queue(driver: Driver, name: str = "tasks", *, clock: Clock | None = None, **options: Any) -> Queue:
    """A queue with JSON bodies; ``options`` are fields of QueueSpec and QueuePolicy."""
    spec_options = {key: options.pop(key) for key in ("lease", "max_length", "ordering") if key in options}
    codecs = Codecs()
    codec = codecs.get(options.pop("codec", "json/plain"))
    assert codec is not None
    return Queue(
        f"app:{name}",
        driver=driver,
        spec=QueueSpec(name, **spec_options),
        codec=codec,
        codecs=codecs,
        policy=QueuePolicy(retry=STEADY, **options),
        clock=clock or clock_of_loop(),
    )


@dataclass
class Bench:
    """A consumer with its queue, its dead-letter queue and its handler, on one driver."""

    consumer: Consumer
    queue: Queue
    dead: Queue
    handler: ScriptedHandler
    host: FakeHost

    @property
    def run(self) -> ConsumerRun:
        """What the consumer has from its start until its stop."""
        return present(self.consumer.run)

    async def __aenter__(self) -> Bench:
        await self.consumer.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.consumer.stop(10.0)

    async def settled(self, held: int = 0) -> None:
        """Return when as many deliveries as told are held and the queue has none that could be received."""
        while self.consumer.now.held != held or (await self.queue.depth()).ready:
            await asyncio.sleep(0.01)

    async def empty(self) -> None:
        """Return when the queue holds nothing, delayed messages included."""
        while self.consumer.now.held or (await self.queue.info())["message_count"]:
            await asyncio.sleep(0.01)

    async def handle(self, *bodies: Any, headers: Mapping[str, HeaderValue] | None = None) -> None:
        """Publish these bodies, and consume until the queue is empty."""
        for body in bodies:
            await self.queue.publish(body, headers)
        async with self:
            await self.empty()

    async def begin(self, *bodies: Any, seconds: float = 1.0) -> None:
        """Publish these bodies, start, and consume for so long."""
        await self.queue.publish_many(bodies)
        await self.consumer.start()
        await asyncio.sleep(seconds)

    async def stop_late(self, seconds: float) -> None:
        """Stop while a handler runs for longer than that."""
        with pytest.raises(StopTimeoutError):
            await self.consumer.stop(seconds)

    async def dead_letters(self) -> list[Any]:
        return await self.dead.peek(1000)


async def make_bench(
    run: Run | None = None,
    *,
    driver: Driver | None = None,
    dead_letter: bool = True,
    max_attempts: int = 3,
    keeper: Keeper | None = None,
    options: ConsumerOptions | None = None,
    on_expire: str = "dead_letter",
    dead_driver: Driver | None = None,
    dead_options: Mapping[str, Any] | None = None,
    state: SharedState | None = None,
    share: Share | None = None,
    **queue_options: Any,
) -> Bench:
    clock = clock_of_loop()
    driver = driver or MemoryDriver("app:driver", clock=clock)
    dead_driver = dead_driver or driver
    queue = make_queue(
        driver,
        dead_letter="app:dead" if dead_letter else None,
        max_attempts=max_attempts,
        drop_expired=on_expire == "drop",
        **queue_options,
    )
    dead = make_queue(dead_driver, "dead", **(dead_options or {}))
    await driver.declare(queue.spec)
    await dead_driver.declare(dead.spec)
    await driver.open()
    await dead_driver.open()
    handler = ScriptedHandler(run)
    host = FakeHost({"app:tasks": queue, "app:dead": dead})
    consumer = Consumer(
        "app:consumer",
        queue=queue,
        handler=handler,
        host=host,
        keeper=keeper or LoopKeeper(clock),
        policy=RetryPolicy(STEADY, max_attempts, dead_letter, on_expire == "drop", max_delay=100 * 86400.0),
        options=options or ConsumerOptions(),
        dead_letters=dead if dead_letter else None,
        clock=clock,
        state=state,
        share=share,
    )
    return Bench(consumer, queue, dead, handler, host)


def guard_of(context: Context) -> Guard | None:
    """The rights of a handler or called function."""
    assert isinstance(context._reach, HostReach)
    return context._reach.guard


class Gate:
    """A handler that waits until the gate is open."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def __call__(self, body: Any, context: Context) -> None:
        await self.open.wait()


async def leased(run: Any = None, trouble: Any = None, **options: Any) -> tuple[Bench, ModelBroker]:
    broker = ModelBroker(clock_of_loop())
    driver = ModelDriver(broker, trouble=trouble) if trouble else ModelDriver(broker)
    return await make_bench(run, driver=driver, **options), broker
