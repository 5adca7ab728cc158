"""Assembly: the live objects of a project's entries."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from tasuki import __version__
from tasuki.app.flow.requests import ForeignReplyQueues, Requests
from tasuki.app.host import ProjectHost
from tasuki.app.lifecycle.driver_service import DriverService
from tasuki.app.measuring.delays import DelayNotes
from tasuki.app.state.finding import store_for
from tasuki.clock import Clock
from tasuki.contracts.context import Around
from tasuki.contracts.driver import Depth, Driver
from tasuki.contracts.handler import Handler
from tasuki.contracts.observer import Observer
from tasuki.dead.batches.service import BatchService
from tasuki.fields.types import Config, DriverKind
from tasuki.kinds.build import (
    build_driver,
    build_handler,
    build_resource,
    driver_settings,
    is_function,
    is_same_driver,
    largest_letters,
    queue_policy,
    queue_spec,
    tasks_of_queues,
)
from tasuki.kinds.check.consumers import concurrency_by_function, roles, shared_workers
from tasuki.kinds.check.project import Project
from tasuki.kinds.check.requirements import demanded_durability
from tasuki.kinds.check.rights import Rights
from tasuki.kinds.entries.consumer import ConsumerConfig, WorkerConfig
from tasuki.kinds.entries.function import HookConfig, ProviderConfig, PythonFunctionConfig
from tasuki.kinds.entries.lifecycle import DriverConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.entries.store import DriverStoreConfig
from tasuki.kinds.kind import priority_advice
from tasuki.kinds.settings import Settings
from tasuki.queues.messages.codec import Codecs
from tasuki.queues.queue import Queue
from tasuki.registry.entry import Changes
from tasuki.state.shared import States
from tasuki.state.worker_heartbeat import Attendance
from tasuki.state.worker_record import WorkerHealth
from tasuki.supervisor.spec import RestartPolicy, ServiceSpec

if TYPE_CHECKING:
    from tasuki.app.hooks.hooks import Hooks
    from tasuki.app.schedules.scheduler import Scheduler
    from tasuki.consumers.consumer import Consumer
    from tasuki.consumers.delivery import Delivery
    from tasuki.consumers.fetching.keeper import Keeper
    from tasuki.consumers.handling.shared import Share, SharedWorkers
    from tasuki.consumers.reports.snapshot import Describer
    from tasuki.handlers.providing.providers import Providers
    from tasuki.state.job_records import WaitingRecords
    from tasuki.state.worker_record import Presence


def is_same_code(kind: type[Config], project: Project, old: Project) -> bool:
    """Whether all entries of a kind are as they were, in the order of declaration and with their code."""
    return list(project.of(kind).items()) == list(old.of(kind).items()) and all(
        project.registry.entries[id].target == old.registry.entries[id].target for id in project.of(kind)
    )


def stage_of(config: Config) -> int:
    """When an object is made: drivers first, then queues, functions and stores, and last the consumers."""
    if isinstance(config, DriverConfig):
        return 0
    if isinstance(config, QueueConfig):
        return 1
    return 3 if isinstance(config, ConsumerConfig) else 2


def services_behind(id: str, edges: Mapping[str, Sequence[str]], services: Container[str]) -> list[str]:
    """The services that an entry depends on, directly or through entries that are no services."""
    found: dict[str, None] = {}
    todo = list(edges.get(id, ()))
    while todo:
        next_id = todo.pop(0)
        if next_id in services:
            found[next_id] = None
        else:
            todo += edges.get(next_id, ())
    return list(found)


_log = logging.getLogger("tasuki.app")


class Stoppable(Protocol):
    """A handler, or the providers of handlers."""

    id: str

    async def stop(self) -> None:
        """Free what it holds."""


@dataclass(eq=False, slots=True)
class Retired:
    """Handlers that were replaced, and the deliveries that ran at that time."""

    handlers: list[Stoppable]
    running: list[Delivery]

    @property
    def is_idle(self) -> bool:
        """Whether all these deliveries have ended."""
        return all(delivery.ended for delivery in self.running)


async def stop_all(handlers: Iterable[Stoppable]) -> None:
    """Stop each, also when another one fails to."""
    for handler in handlers:
        try:
            await handler.stop()
        except Exception:
            _log.exception("handler %s failed to stop", handler.id)


_DECLARATION = 0.05
"""Seconds added to a driver's ``start_timeout`` for each of its queues."""


class Assembly(ProjectHost):
    """One object per entry; objects that the ``changes`` do not touch are taken over from the ``old`` assembly."""

    attendance: Attendance[Consumer]
    find_health: Callable[[], WorkerHealth | None] | None = None
    """How this process is, from any thread; the app sets it. None: nothing observes it."""
    around: Around | None
    prepare_child: str | None
    """See App."""
    _describer: Describer | None = None

    def __init__(
        self,
        project: Project,
        *,
        clock: Clock,
        keeper: Keeper,
        old: Assembly | None = None,
        changes: Changes | None = None,
        observers: Sequence[Observer] = (),
        around: Around | None = None,
        prepare_child: str | None = None,
    ) -> None:
        self.project = project
        self.clock, self._keeper = clock, keeper
        self.observers: tuple[Observer, ...] = old.observers if old else tuple(observers)
        self.around, self.prepare_child = (old.around, old.prepare_child) if old else (around, prepare_child)
        self.settings: Settings = Settings(project, kept=old.settings if old else None)
        self.rights = Rights(project)
        self.codecs: Codecs = old.codecs if old else Codecs()
        self.drivers: dict[str, Driver] = {}
        self.services: dict[str, DriverService] = {}
        self.queues: dict[str, Queue] = {}
        self.handlers: dict[str, Handler] = {}
        self.resources: dict[str, Any] = {}
        self.consumers: dict[str, Consumer] = {}
        self.workers: dict[str, SharedWorkers] = {
            id: old.workers[id] if old and config == old.project.configs.get(id) else _pool(config)
            for id, config in project.of(WorkerConfig).items()
        }
        has_providers = old is not None and is_same_code(ProviderConfig, project, old.project)
        self.providers: Providers | None = old.providers if old and has_providers else _providers(project)
        has_hooks = old is not None and is_same_code(HookConfig, project, old.project)
        self.hooks: Hooks | None = old.hooks if old and has_hooks else self._build_hooks()
        self._shared, self._roles = shared_workers(project.configs), roles(project.configs)
        self._concurrency = concurrency_by_function(project.of(ConsumerConfig).values(), self._shared)
        self.reply_queues: ForeignReplyQueues = old.reply_queues if old else ForeignReplyQueues(clock)
        self.requests: Requests = old.requests if old else Requests(clock)
        self.states = old.states if old else States(clock)
        self.attendance = old.attendance if old else Attendance(self._describe)
        self.batching: BatchService = old.batching if old else BatchService(clock)
        self._retired: list[Retired] = []
        self.called: dict[str, Handler] = {}
        """The handlers of consumers."""
        self._build_all(old, changes)
        self.schedulers: dict[str, Scheduler] = self._build_schedulers(old.schedulers if old else {})

    def _build_schedulers(self, old: dict[str, Scheduler]) -> dict[str, Scheduler]:
        if not self.project.has("queue.schedule"):
            return {}
        from tasuki.app.schedules.scheduler import build_schedulers

        return build_schedulers(self.project, self.queues, self.state_of, self.clock, old)

    def _build_hooks(self) -> Hooks | None:
        if not self.project.has("hook.python"):
            return None
        from tasuki.app.hooks.hooks import build_hooks

        return build_hooks(self.project, self.queue)

    def _describe(self, consumers: Sequence[Consumer], now: float) -> Presence:
        """The entry of this process in a store, once it has consumers."""
        if self._describer is None:
            from tasuki.consumers.reports.snapshot import Describer

            self._describer = Describer(__version__, self.clock, self._health)
        return self._describer(consumers, now)

    def _health(self) -> WorkerHealth | None:
        return None if self.find_health is None else self.find_health()

    def _build_all(self, old: Assembly | None, changes: Changes | None) -> None:
        """Make each entry's object, or take it over from the old assembly; what others need comes first."""
        project = self.project
        self.delays: DelayNotes = old.delays if old else DelayNotes(self.clock)
        self._letters = largest_letters(project)
        self._tasks = tasks_of_queues(project)
        for id in sorted(project.configs, key=lambda id: stage_of(project.configs[id])):
            if isinstance(config := project.configs[id], ConsumerConfig):
                from tasuki.app.tasks.consuming import handler_for

                before = old.called.get(id) if old else None
                self.called[id] = handler_for(id, config, self.queues[config.queue], self.handlers, before, self.clock)
            if old is not None and changes is not None and self._still_fits(id, old, changes):
                self._take_over(id, old)
            else:
                self._build(id)

    def take_charge(self) -> None:
        """Make this the active assembly: handlers use it as their host, and drivers declare its queues."""
        self.remember_loop()
        self.batching.take_charge(self)
        self.delays.take_charge(self)
        for id, consumer in self.consumers.items():
            consumer.host, consumer.guard, consumer.observers = self, self.rights.consumer(id), self.observers
            state = consumer.state = self.state_of(consumer.queue.id)
            is_shared = state is not None and state.driver.capabilities.multi_process
            consumer.attendance = self.attendance if is_shared else None
            consumer.reports = [self.hooks] if self.hooks is not None and self.hooks.hears_of_deliveries else []
        queues, drivers = self.project.of(QueueConfig), self.project.of(DriverConfig)
        for queue in self.queues.values():
            queue.demand.level = demanded_durability(queues[queue.id], drivers[queues[queue.id].driver])
            queue.find_pause = partial(_pause_of, self, queue.id)
            queue.find_consumers = partial(_consumers_of, self, queue.id)
            queue.find_depth = partial(_depth_of, self, queue.id)
            queue.on_purge = partial(self.delays.purged, self.state_of(queue.id), queue)
            queue.use_store(partial(store_for, self, queue.id, "a unique window"))
            queue.waits = self._waits_for(queue)
            queue.observe(self.observers if self.hooks is None else (*self.observers, *self.hooks.observers))
        self._trace()
        for id, service in self.services.items():
            service.queues = [queue for queue in self.queues.values() if queue.driver is self.drivers[id]]
            service.accepted = drivers[id].durability

    def _waits_for(self, queue: Queue) -> WaitingRecords | None:
        """Keeps the first records of a queue's messages; None: the driver locates them, or no record is kept."""
        state, policy = self.state_of(queue.id), queue.policy.result
        if state is None or policy is None or queue.driver.capabilities.has("locate"):
            return None
        from tasuki.state.job_records import WaitingRecords

        return WaitingRecords(state, queue.spec.name, policy.ttl)

    def _trace(self) -> None:
        if self.project.has("traces.config"):
            from tasuki.kinds.tracing import trace_all

            trace_all(self.project, self.queues, self.consumers, __version__)
            return
        for queue in self.queues.values():  # a version before this one may have had an entry for traces
            queue.tracing = None
        for consumer in self.consumers.values():
            consumer.tracing = None

    def _still_fits(self, id: str, old: Assembly, changes: Changes) -> bool:
        """Whether the old object of an entry can go on: the entry is unchanged, and so are the objects that it uses.

        A driver goes on, with its messages, unless its settings changed.
        """
        config, kind = self.project.configs[id], self.project.kinds[id]
        if (isinstance(config, PythonFunctionConfig) and self.providers is not old.providers) or (
            isinstance(config, ConsumerConfig) and self.hooks is not old.hooks
        ):
            return False
        if id in changes.unchanged and not isinstance(config, QueueConfig | ConsumerConfig):
            return not is_function(config) or (self._threads(id), self._role(id)) == (old._threads(id), old._role(id))
        if isinstance(kind, DriverKind) and id in old.drivers:
            return kind == old.project.kinds[id] and is_same_driver(
                driver_settings(old.project, id), driver_settings(self.project, id)
            )
        if (id not in changes.unchanged and id not in changes.affected) or is_function(config):
            return False
        if isinstance(config, QueueConfig | ConsumerConfig) and not changes.unchanged.issuperset(config.middleware):
            return False
        if isinstance(config, QueueConfig | DriverStoreConfig):  # a queue's publishers may require more than before
            is_same = config == old.project.configs[id] and self._beside(id) == old._beside(id)
            return is_same and self.drivers[config.driver] is old.drivers.get(config.driver)
        if isinstance(config, ConsumerConfig):
            queue = self.queues[config.queue]
            needed = [queue.id, *([queue.policy.dead_letter] if queue.policy.dead_letter else [])]
            is_same = all(self.queues[needed_id] is old.queues.get(needed_id) for needed_id in needed)
            is_same = is_same and self.state_of(queue.id) is old.consumers[id].state
            return is_same and self._share(queue.id) == old.consumers[id].share
        return True

    def _take_over(self, id: str, old: Assembly) -> None:
        for mine, theirs in zip(self._tables(), old._tables(), strict=True):
            if id in theirs:
                mine[id] = theirs[id]

    def _tables(self) -> tuple[dict[str, Any], ...]:
        return self.drivers, self.services, self.queues, self.handlers, self.resources, self.consumers

    def _build(self, id: str) -> None:
        config = self.project.configs[id]
        if isinstance(kind := self.project.kinds[id], DriverKind):
            self.drivers[id] = self._driver(id)
            self.services[id] = DriverService(self.drivers[id], kind.short_name)
            own = (self.delays, self.batching, self.requests, self.reply_queues, self.states)
            self.services[id].closing = [each.close for each in own]
        elif isinstance(config, QueueConfig):
            self.queues[id] = self._queue(id, config)
        elif isinstance(config, ConsumerConfig):
            self.consumers[id] = self._consumer(id, config)
        elif is_function(config):
            self.handlers[id] = build_handler(
                self.project, id, self._threads(id), self._role(id), self.providers, self.around, self.prepare_child
            )
        elif (resource := build_resource(config, self.project.kinds, id, self.clock, self.opener)) is not None:
            self.resources[id] = resource

    def _driver(self, id: str) -> Driver:
        return build_driver(self.project, id, self.clock)

    def _beside(self, id: str) -> tuple[int, tuple[str, ...]]:
        """What the policy of a queue takes from other entries."""
        return self._letters.get(id, 0), self._tasks.get(id, ())

    def _queue(self, id: str, config: QueueConfig) -> Queue:
        codec, driver = self.codecs.get(config.codec), self.drivers[config.driver]
        assert codec is not None  # the check knows the codecs
        letters, tasks = self._beside(id)
        policy = queue_policy(config, driver.capabilities, letters=letters, tasks=tasks)
        return Queue(
            id,
            driver=driver,
            spec=queue_spec(config, driver.capabilities),
            codec=codec,
            codecs=self.codecs,
            policy=replace(policy, priority_advice=partial(priority_advice, id)),
            clock=self.clock,
            middleware=self.middleware_of(config),
            body=self.project.registry.entries[id].target,
        )

    def middleware_of(self, config: QueueConfig | ConsumerConfig) -> list[Callable[[], Any]]:
        """Functions that load the middleware, so that a process imports only what it uses."""
        if not config.middleware:
            return []
        from tasuki.kinds.functions import load_middleware

        return [partial(load_middleware, self.project, id) for id in config.middleware]

    def _consumer(self, id: str, config: ConsumerConfig) -> Consumer:
        from tasuki.app.tasks.consuming import build_consumer

        return build_consumer(self, id, config, self._keeper, self._shared, self._share(config.queue))

    def _share(self, queue: str) -> Share | None:
        """The part that a queue's consumers have in shared workers; None: their workers are their own."""
        if queue not in self._shared:
            return None
        from tasuki.consumers.handling.shared import Share

        id, config = self._shared[queue]
        rank = config.queues.index(queue) if config.order == "strict" else 0
        return Share(self.workers[id], rank, config.weights.get(queue, 1))

    def _threads(self, function: str) -> int:
        """As many threads as its consumers may run at a time; calls from other functions share them."""
        return max(self._concurrency[function], 4)

    def _role(self, function: str) -> str:
        return self._roles.get(function, ("func", ""))[0]

    def specs(self) -> dict[str, ServiceSpec]:
        """The drivers, consumers and schedulers as services, each after those that it depends on.

        All drivers start, as publishing to a queue needs its driver.
        """
        services: dict[str, DriverService | Consumer] = {**self.services, **self.consumers}
        queues = Counter[object](queue.driver for queue in self.queues.values())
        specs = {id: self._spec(id, service, queues[self.drivers.get(id)]) for id, service in services.items()}
        if not self.schedulers:
            return specs
        from tasuki.app.schedules.scheduler import scheduler_specs

        return {**specs, **scheduler_specs(self.schedulers)}

    @property
    def supervised(self) -> dict[str, object]:
        """The objects behind the specs, by the same ids."""
        return {**self.drivers, **self.consumers, **self.schedulers}

    def _spec(self, id: str, service: DriverService | Consumer, queues: int) -> ServiceSpec:
        """``queues``: how many a driver has to declare."""
        config = self.project.configs[id]
        assert isinstance(config, DriverConfig | ConsumerConfig)
        lifecycle = config.lifecycle
        return ServiceSpec(
            id=id,
            service=service,
            depends_on=services_behind(id, self.project.edges, {**self.drivers, **self.consumers}),
            auto_start=id in self.drivers or lifecycle.auto_start,
            start_timeout=lifecycle.start_timeout + queues * _DECLARATION,
            stop_timeout=lifecycle.stop_timeout,
            stable_threshold=lifecycle.stable_threshold,
            restart=RestartPolicy(lifecycle.restart.backoff(), lifecycle.restart.max_attempts),
            startup=lifecycle.startup,
        )

    def handler_of(self, consumer: str) -> Handler:
        """The handler of a consumer's entry: one of its function, or of its tasks."""
        return self.called[consumer]

    def functions_of(self, consumer: str) -> list[Handler]:
        """The handlers of all functions that a consumer calls."""
        from tasuki.consumers.handling.tasks import TaskHandlers

        handler = self.handler_of(consumer)
        return handler.handlers if isinstance(handler, TaskHandlers) else [handler]

    async def retire(self, old: Assembly) -> None:
        """Free the replaced handlers, each when no delivery runs in it any more.

        Deliveries that run now are checked at the next reload, and at the end.
        """
        current = set(self.handlers.values())
        gone: list[Stoppable] = [handler for handler in old.handlers.values() if handler not in current]
        if old.providers is not None and old.providers is not self.providers:
            gone.append(old.providers)
        running = [delivery for consumer in old.consumers.values() for delivery in consumer.now.deliveries]
        self._retired = [*old._retired, Retired(gone, running)]
        for retired in [retired for retired in self._retired if retired.is_idle]:
            self._retired.remove(retired)
            await stop_all(retired.handlers)

    async def stop_handlers(self, but: Iterable[Stoppable] = ()) -> None:
        """Stop all handlers and close the objects provided to them, except the given ones."""
        kept: set[Stoppable] = set(but)
        retired = [handler for group in self._retired for handler in group.handlers]
        ours: list[Stoppable] = [*self.handlers.values(), *([self.providers] if self.providers else [])]
        await stop_all(handler for handler in (*retired, *ours) if handler not in kept)


async def _pause_of(assembly: Assembly, queue: str) -> dict[str, Any] | None:
    from tasuki.app.state.pausing import pause_of

    return await pause_of(assembly, queue)


async def _consumers_of(assembly: Assembly, queue: str) -> int | None:
    from tasuki.app.state.workers import Census

    return await Census(assembly).count(queue)


async def _depth_of(assembly: Assembly, queue: str) -> Depth:
    from tasuki.app.state.workers import Census

    return await Census(assembly).depth(queue)


def _pool(config: WorkerConfig) -> SharedWorkers:
    from tasuki.consumers.handling.shared import SharedWorkers

    return SharedWorkers(config.concurrency)


def _providers(project: Project) -> Providers | None:
    if not project.has("provider.python"):
        return None
    from tasuki.kinds.functions import build_providers

    return build_providers(project)
