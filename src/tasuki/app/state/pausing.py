"""Pausing, resuming and scaling: what the names mean, who may do it, and which store keeps it."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from tasuki.consumers.fetching.window import MOST_CONCURRENCY
from tasuki.errors import DriverError, UnsupportedError
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.registry.entry import find_named
from tasuki.state import pauses
from tasuki.state.pauses import Pausable, Pause, Scale, pause_in, pause_key, read_pause, read_scale, scale_key
from tasuki.state.shared import SharedState
from tasuki.units import When

if TYPE_CHECKING:
    from tasuki.app.host import ProjectHost
    from tasuki.security.guard import Guard

_KINDS: Mapping[str, Pausable] = {f"queue.{kind}": kind for kind in get_args(Pausable)}
"""Kind of entry → what its pause is called."""
_ANY: tuple[Pausable, ...] = get_args(Pausable)


@dataclass(frozen=True, slots=True)
class Target:
    """An entry that can be paused."""

    kind: Pausable
    id: str


def find_target(project: Project, name: str, kinds: Sequence[Pausable] = _ANY) -> Target:
    """The queue, consumer or schedule of an id, or of a name that no other of them has.

    Raises:
        ConfigError: there is none, or several; the error names similar ids, or all.
    """
    known = {id: kind for id, each in project.kinds.items() if (kind := _KINDS.get(each.name)) in kinds}
    what = kinds[0] if len(kinds) == 1 else f"{', '.join(kinds[:-1])} or {kinds[-1]}"
    id = find_named(name, known, what)
    return Target(known[id], id)  # type: ignore[arg-type]


def queue_of(project: Project, target: Target) -> str:
    """The id of the queue whose state keeps the pause."""
    if target.kind == "queue":
        return target.id
    queue: str = getattr(project.configs[target.id], "queue")  # noqa: B009 - schedules and consumers have it
    return queue


class Steering:
    """Pauses, resumes and scales within one project. Each verb checks the permission first.

    ``guard``: the rights of who acts; None: all. ``actor``: who acts, for the record.
    """

    def __init__(self, host: ProjectHost, guard: Guard | None, actor: str) -> None:
        self._host = host
        self._guard = guard
        self._actor = guard.actor.id if guard is not None and guard.actor is not None else actor

    async def pause(self, target: Target, due: When | None, reason: str = "", *, may_shorten: bool = True) -> Pause:
        """See :func:`tasuki.state.pauses.pause`. Raises PolicyDeniedError and UnsupportedError besides."""
        state, name = self._find("pause", target)
        return await pauses.pause(
            state, target.kind, name, due=due, actor=self._actor, reason=reason, may_shorten=may_shorten
        )

    async def resume(self, target: Target) -> Pause | None:
        """See :func:`tasuki.state.pauses.resume`. Raises PolicyDeniedError and UnsupportedError besides."""
        state, name = self._find("resume", target)
        return await pauses.resume(state, target.kind, name, actor=self._actor)

    async def scale(self, consumer: str, concurrency: int | None) -> Scale | None:
        """Set how many messages each process handles at a time; None: as its entry says.

        Raises:
            ValueError: ``concurrency`` is out of bounds.
            PolicyDeniedError: the actor may not; UnsupportedError: the queue has no state; DriverError.
        """
        if concurrency is not None and not 0 <= concurrency <= MOST_CONCURRENCY:
            raise ValueError(f"concurrency must be 0 (paused) to {MOST_CONCURRENCY}, not {concurrency}")
        state, id = self._find("scale", Target("consumer", consumer))
        if concurrency is not None:
            return await pauses.scale(state, id, concurrency, actor=self._actor)
        await pauses.reset_scale(state, id, actor=self._actor)
        return None

    def _find(self, verb: str, target: Target) -> tuple[SharedState, str]:
        """The state, and the name in the key."""
        if self._guard is not None:
            problem = f"not allowed to {verb} {target.kind}: {target.id}"
            self._guard.require(f"queue.{verb}.{target.kind}", target.id, problem)
        queue = self._host.queue(queue_of(self._host.project, target))
        state = self._host.state_of(queue.id)
        if state is None:
            raise UnsupportedError(no_state(self._host.project, queue.id), driver=queue.driver.name, queue=queue.id)
        return state, queue.spec.name if target.kind == "queue" else target.id


def no_state(project: Project, queue: str) -> str:
    """The error for a queue without a store, and its remedy."""
    config = project.configs[queue]
    assert isinstance(config, QueueConfig)
    return (
        f"queue {queue!r} has no state: its driver {config.driver!r} ({project.driver_of(queue).short_name}) has no "
        f"store; write 'state: <id of a store>' at the driver or at the queue, and declare that store on a driver that "
        "has one (store.redis, store.postgres, store.sqlite, store.nats)"
    )


async def pause_of(host: ProjectHost, queue: str) -> dict[str, Any] | None:
    """The pause of a queue as plain data; None: it is not paused; empty: its store does not tell within two seconds."""
    state = host.state_of(queue)
    if state is None:
        return None
    name = host.queues[queue].spec.name
    if state.is_following:
        pause = pause_in(state.controls, "queue", name)
    else:
        try:
            pause = await state.soon(partial(pauses.find_pause, state, "queue", name))
        except (DriverError, TimeoutError):  # counts are worth showing without it
            return {}
    return None if pause is None else pause.as_dict()


@dataclass(frozen=True, slots=True)
class Orders:
    """The pauses and scales that are in force in a project, by id of the entry."""

    pauses: dict[Target, Pause]
    scales: dict[str, Scale]
    """By consumer."""


async def orders_of(host: ProjectHost, queues: Container[str]) -> Orders:
    """The pauses and scales of these queues, their consumers and schedules, read from the stores. Raises DriverError.

    A store is made by opening it: leave out the queues that their brokers do not have.
    """
    read = dict[SharedState, dict[str, bytes]]()
    orders = Orders({}, {})
    for id, kind in host.project.kinds.items():
        if (pausable := _KINDS.get(kind.name)) is None:
            continue
        target = Target(pausable, id)
        queue = host.queues[queue_of(host.project, target)]
        if queue.id not in queues:
            continue
        if (state := host.state_of(queue.id)) is None:
            continue
        if state not in read:
            read[state] = await pauses.find_all(state, "")
        name = queue.spec.name if pausable == "queue" else id
        if (value := read[state].get(pause_key(pausable, name))) is not None:
            orders.pauses[target] = read_pause(value)
        if (value := read[state].get(scale_key(id))) is not None and (scale := read_scale(value)) is not None:
            orders.scales[id] = scale
    return orders
