"""Project: checks every entry against its kind and the others, and reports all problems at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from tasuki.errors import (
    ConfigError,
    InvalidEntryError,
    MissingReferenceError,
    Position,
    ProjectError,
    ReferenceCycleError,
    UnknownKindError,
)
from tasuki.fields.types import Config, DriverKind, Kind
from tasuki.ids import resolve_id
from tasuki.kinds.check.conflicts import conflicts, limited_lease, problems_of_limits, problems_of_stores
from tasuki.kinds.check.consumers import (
    Finding,
    called_in_two_ways,
    problems_of_batches,
    problems_of_idempotency,
    problems_of_tasks,
    served_twice,
    unknown_exceptions,
)
from tasuki.kinds.check.requirements import REQUIREMENTS, Need, is_met_by_state, needs_of
from tasuki.kinds.check.uses import longest_delays, needs_of_publishers
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.entries.security import AnyPolicyConfig
from tasuki.kinds.entries.store import STORE_PREFIX, DriverStoreConfig, MemoryStoreConfig
from tasuki.kinds.kind import all_capabilities, capabilities_of, driver_names, find_driver, find_kind
from tasuki.queues.messages.body_type import BodyType, problem_of_type
from tasuki.registry.entry import (
    Entry,
    KeyPath,
    Registry,
    describe,
    did_you_mean,
    find_cycles,
    find_references,
    noun,
    points_well,
    verify_references,
)
from tasuki.registry.loader import Loaded
from tasuki.registry.overrides import is_overridden
from tasuki.units import format_duration

Use = Literal["queue", "consumer"]


def merge_options(entry: Entry, driver: DriverKind | None, use: Use) -> tuple[dict[str, Any], list[ConfigError]]:
    """The options in force: ``options`` ← flat ``driver_options`` ← ``driver_options.<driver>``, and their errors.

    Options for other drivers stay dormant; they are checked too where their driver is known. Without a driver (it is
    missing or unknown, which is reported elsewhere) only those are checked.
    """
    flat, bags, errors = _split(entry)
    own = bags.pop(driver.short_name, {}) if driver else {}
    for name, bag in bags.items():
        if dormant := find_driver(name):
            errors += _check(entry, dormant, use, bag, dict.fromkeys(bag, ("driver_options", name)))[1]
    if driver is None:
        return {}, errors
    plain = _mapping(entry.data.get("options"))
    origins: dict[str, KeyPath] = {
        **dict.fromkeys(plain, ("options",)),
        **dict.fromkeys(flat, ("driver_options",)),
        **dict.fromkeys(own, ("driver_options", driver.short_name)),
    }
    options, problems = _check(entry, driver, use, {**plain, **flat, **own}, origins)
    return options, errors + problems


def option_path(entry: Entry, driver: DriverKind, *path: str | int) -> KeyPath | None:
    """The place of the effective option in the entry, as a field or in one of its mappings; None if not given."""
    bags = ((), ("driver_options", driver.short_name), ("driver_options",), ("options",))
    return next((found for bag in bags if (found := (*bag, *path)) in entry.positions), None)


def _split(entry: Entry) -> tuple[dict[str, Any], dict[str, Mapping[str, Any]], list[ConfigError]]:
    """``driver_options`` as options without a driver's name, and bags by the short names of drivers."""
    flat: dict[str, Any] = {}
    bags: dict[str, Mapping[str, Any]] = {}
    errors: list[ConfigError] = []
    for key, value in _mapping(entry.data.get("driver_options")).items():
        if find_driver(key) is None:
            flat[key] = value
        elif isinstance(value, Mapping):
            bags[key] = value
        else:
            problem = f"driver_options.{key} must be a mapping, not {describe(value)}"
            errors.append(entry.error(problem, ("driver_options", key)))
    return flat, bags, errors


def _mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping; the entry's own model reports other types."""
    return value if isinstance(value, Mapping) else {}


def _check(
    entry: Entry, driver: DriverKind, use: Use, values: Mapping[str, Any], origins: Mapping[str, KeyPath]
) -> tuple[dict[str, Any], list[ConfigError]]:
    model = driver.queue_options if use == "queue" else driver.consumer_options
    try:
        return model.model_validate(values).model_dump(exclude_none=True), []
    except ValidationError as error:
        what = f"{driver.short_name} option"
        place = lambda path: (*origins[str(path[0])], *path) if path else ("options",)  # noqa: E731
        from tasuki.kinds.problems import problems_of

        return {}, [*problems_of(error, entry, model, place=place, what=what)]


C = TypeVar("C", bound=Config)


_GROUPS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "queue.consumer": {"lifecycle.security.groups.*": ()},
    "security.config": {"application.groups.*": ()},
}
"""Where entries name groups of policies, by kind."""


_FUNCTIONS = ("function.python", "provider.python", "hook.python", "middleware.python")
"""Kinds whose functions are checked; a project without them does not import these checks."""


@dataclass(frozen=True, slots=True)
class Project:
    """A checked registry, with the configuration of each entry."""

    registry: Registry
    configs: Mapping[str, Config]
    """By entry id, in the order of declaration."""
    kinds: Mapping[str, Kind]
    """By entry id."""
    edges: Mapping[str, tuple[str, ...]]
    """Entry id → ids that it refers to, ``lifecycle.depends_on`` and ``requires`` included; no circles."""
    _found: dict[type[Config], Mapping[str, Any]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def of(self, model: type[C]) -> Mapping[str, C]:
        """All configurations of this model, by id, in the order of declaration."""
        if model not in self._found:
            self._found[model] = {id: config for id, config in self.configs.items() if isinstance(config, model)}
        return self._found[model]

    def has(self, kind: str) -> bool:
        """Whether an entry is of this kind, by its name: its model need not be imported."""
        return any(each.name == kind for each in self.kinds.values())

    def driver_of(self, queue: str) -> DriverKind:
        """The kind of the driver that carries a queue. Raises KeyError if the id is no queue."""
        config = self.configs.get(queue)
        kind = self.kinds[config.driver] if isinstance(config, QueueConfig) else None
        if not isinstance(kind, DriverKind):
            raise KeyError(queue)
        return kind


def check(loaded: Loaded) -> Project:
    """Check the loaded entries and return the project.

    Raises:
        ProjectError: with every problem of loading and checking, ordered by file, line and column.
    """
    checker = _Checker(loaded)
    checker.run()
    if checker.errors:
        raise ProjectError(sorted(checker.errors, key=_by_place))
    return Project(
        loaded.registry,
        MappingProxyType(checker.configs),
        MappingProxyType(checker.kinds),
        MappingProxyType(checker.edges),
    )


def _by_place(error: ConfigError) -> tuple[Position, str]:
    return error.position or Position("\uffff"), error.problem


class _Checker:
    """Each method checks one aspect of all entries, and adds problems to ``errors``."""

    def __init__(self, loaded: Loaded) -> None:
        self.registry = loaded.registry
        self.errors = list(loaded.errors)
        self.kinds: dict[str, Kind] = {}
        self.configs: dict[str, Config] = {}
        self.edges: dict[str, tuple[str, ...]] = {}

    def run(self) -> None:
        for entry in self.registry:
            self._check_kind(entry)
        for entry in self.registry:
            if entry.id in self.kinds:
                self._check_fields(entry, self.kinds[entry.id])
                self._check_references(entry, self.kinds[entry.id])
        self._check_options()
        self._check_durability()
        self._check_cycles()
        self.errors += conflicts(self.registry, self.configs, self.kinds)
        self._check_groups()
        self._check_only_one()
        self._check_workers_and_tasks()
        self._check_bodies()

    def _check_kind(self, entry: Entry) -> None:
        try:
            self.kinds[entry.id] = find_kind(entry.kind)
        except UnknownKindError as error:
            self.errors.append(entry.error(error.problem, ("kind",), error.hint, UnknownKindError))

    def _check_fields(self, entry: Entry, kind: Kind) -> None:
        context = {"namespace": entry.namespace, "name": entry.name, "target": entry.target}
        try:
            self.configs[entry.id] = kind.model.model_validate(_own_fields(entry, kind), context=context)
        except ValidationError as error:
            from tasuki.kinds.problems import problems_of

            self.errors += problems_of(error, entry, kind.model)

    def _check_references(self, entry: Entry, kind: Kind) -> None:
        references = [
            reference
            for reference in find_references(entry, kind.references)
            if not entry.is_unknown(reference.path) and not self._has_unknown_kind(reference.id)
        ]
        self.errors += verify_references(entry, references, self.registry)
        sound = (reference.id for reference in references if points_well(reference, self.registry))
        self.edges[entry.id] = tuple(dict.fromkeys(sound))

    def _has_unknown_kind(self, id: str) -> bool:
        """Whether the entry exists with an unknown kind, which is reported at the entry."""
        return self.registry.get(id) is not None and id not in self.kinds

    def _check_options(self) -> None:
        self._published = needs_of_publishers(self.registry, self.configs)
        self._delays = longest_delays(self.registry, self.configs)
        for entry in self.registry.of_kind("queue.queue"):
            driver = self._driver_of(entry)
            options, problems = merge_options(entry, driver, "queue")
            self.errors += problems
            if isinstance(config := self.configs.get(entry.id), QueueConfig):
                length = config.max_length or (options.get("max_length") if _is_ours(driver) else 0) or None
                update = {"options": options, "max_length": length, **limited_lease(config)}
                config = config.model_copy(update=update)
                self.configs[entry.id] = self._fitted(entry, config, driver) if driver else config
        for entry in self.registry.of_kind("queue.consumer"):
            queue = self._target(entry, "queue")
            options, problems = merge_options(entry, self._driver_of(queue) if queue else None, "consumer")
            self.errors += problems
            if isinstance(config := self.configs.get(entry.id), ConsumerConfig):
                self.configs[entry.id] = config.model_copy(update={"driver_options": options})
                if queue is not None and config.handler_timeout is not None:
                    self._check_handler_timeout(entry, queue, config.handler_timeout)

    def _check_handler_timeout(self, entry: Entry, queue: Entry, timeout: float) -> None:
        """Compare it with the time after which the broker requeues a held message."""
        driver, config = self._driver_of(queue), self.configs.get(queue.id)
        longest_hold = getattr(driver.queue_options, "longest_hold", None) if driver else None
        if longest_hold is None or not isinstance(config, QueueConfig):
            return
        longest = longest_hold(config.options)
        if timeout > longest:
            problem = (
                f"handler_timeout ({format_duration(timeout)}) is longer than the consumer_timeout "
                f"({format_duration(longest)}) of queue {queue.id!r}: the broker would take the message back before"
            )
            hint = "give the queue a longer consumer_timeout in its options, or shorten handler_timeout"
            self.errors.append(entry.error(problem, ("handler_timeout",), hint))

    def _fitted(self, entry: Entry, config: QueueConfig, driver: DriverKind) -> QueueConfig:
        """The queue as its driver carries it; report requirements that the driver does not meet."""
        capabilities = capabilities_of(driver)
        if capabilities is None:
            return config  # building it fails, and says why
        published = self._published.get(entry.id, {})
        unsaid = {name: need for name, need in published.items() if name not in config.requires}
        for need in (*needs_of(config), *unsaid.values()):
            is_elsewhere = is_met_by_state(need) and self._names_store(config)
            if not (is_elsewhere or need.requirement.is_met(capabilities)):
                self._refuse(entry, need, driver, config.driver)
        self._check_delay(entry, config, driver)
        if driver.clash is not None and (found := driver.clash(config)) is not None:
            self.errors.append(entry.error(found[1], (found[0],)))
        if unsaid:
            config = config.model_copy(update={"requires": [*config.requires, *unsaid]})
        most = capabilities.max_message_bytes
        if most is None or config.max_message_size <= most:
            return config
        return config.model_copy(update={"max_message_size": most})

    def _names_store(self, config: QueueConfig) -> bool:
        """Whether the queue, or its driver for all of its queues, has its state in its own store choice."""
        return config.state is not None or getattr(self.configs.get(config.driver), "state", None) is not None

    def _check_delay(self, entry: Entry, config: QueueConfig, driver: DriverKind) -> None:
        """Compare constant delays in the code with the limits of the driver's fields."""
        delay, label = self._delays.get(entry.id, (0.0, ""))
        fields = self.configs.get(config.driver)
        if driver.too_long is None or fields is None or not (why := driver.too_long(fields, config, delay)):
            return
        hint = "shorten the delay, or give the queue a longer retention"
        problem = f"{label} is a delay of {format_duration(delay)}: {why}"
        self.errors.append(entry.error(problem, hint=hint))

    def _check_durability(self) -> None:
        """Refuse a driver entry that demands more than its driver can give."""
        for id, config in self.configs.items():
            kind, level = self.kinds[id], str(getattr(config, "durability", None))
            if isinstance(kind, DriverKind) and level in REQUIREMENTS and (capabilities := capabilities_of(kind)):
                need = Need(("durability",), f"durability: {level}", REQUIREMENTS[level])
                if not need.requirement.is_met(capabilities):
                    self._refuse(self.registry.entries[id], need, kind, id)

    def _refuse(self, entry: Entry, need: Need, driver: DriverKind, id: str) -> None:
        able = [name for name, capabilities in all_capabilities().items() if need.requirement.is_met(capabilities)]
        problem = f"{need.label} needs a driver that can {need.requirement.words}; {id!r} ({driver.short_name}) cannot"
        hint = f"these can: {', '.join(able)}" if able else "no driver can"
        if is_met_by_state(need):
            hint += "; or write 'state: <id of a store>' at the queue or its driver"
        path = option_path(entry, driver, *need.path) or need.path
        self.errors.append(entry.error(problem, path, hint))

    def _driver_of(self, queue: Entry) -> DriverKind | None:
        driver = self._target(queue, "driver")
        kind = self.kinds.get(driver.id) if driver else None
        return kind if isinstance(kind, DriverKind) else None

    def _target(self, entry: Entry, field: str) -> Entry | None:
        reference = entry.data.get(field)
        return self.registry.get(resolve_id(reference, entry.namespace)) if isinstance(reference, str) else None

    def _check_cycles(self) -> None:
        for circle in find_cycles(self.edges):
            entry = self.registry.entries[circle[0]]
            are_queues = all(self.registry.entries[id].kind == "queue.queue" for id in circle)
            path = ("dead_letter",) if are_queues else ()
            problem = _circle_problem(circle, are_queues=are_queues)
            hint = "give one of these queues another dead_letter, or none" if are_queues else "remove a reference"
            self.errors.append(entry.error(problem, path, hint, ReferenceCycleError))

    def _check_groups(self) -> None:
        """Groups are no entries: a group exists if a policy names it."""
        policies = [config for config in self.configs.values() if isinstance(config, AnyPolicyConfig)]
        known = {group for config in policies for group in config.groups} | set(self._groups_of_broken_policies())
        for entry in self.registry:
            for reference in find_references(entry, _GROUPS.get(entry.kind, {})):
                if reference.id not in known and not entry.is_unknown(reference.path):
                    problem = (
                        f"{noun(entry.kind)} {entry.id!r} names the group {reference.shown}, but no policy is in it"
                    )
                    hint = did_you_mean(reference.id, known)
                    self.errors.append(entry.error(problem, reference.path, hint, MissingReferenceError))

    def _groups_of_broken_policies(self) -> Iterator[str]:
        """The groups of policies that have another mistake."""
        for entry in self.registry.of_kind("security.policy"):
            if entry.id not in self.configs:
                yield from (reference.id for reference in find_references(entry, {"groups.*": ()}))

    def _check_only_one(self) -> None:
        for kind in ("security.config", "health.config", "metrics.config", "traces.config"):
            first, *others = [id for id in self.configs if self.kinds[id].name == kind] or [""]
            for id in others:
                problem = f"a project has at most one {kind}, and {first!r} is the first"
                self.errors.append(self.registry.entries[id].error(problem, ("kind",)))

    def _check_workers_and_tasks(self) -> None:
        findings = (
            *served_twice(self.configs),
            *problems_of_tasks(self.registry, self.configs),
            *problems_of_batches(self.configs),
            *called_in_two_ways(self.configs),
            *unknown_exceptions(self.configs),
            *self._problems_of_schedules(),
            *problems_of_idempotency(self.configs, self.kinds),
            *problems_of_stores(self.registry, self.configs, self.kinds),
            *problems_of_limits(self.configs, self.kinds),
        )
        for id, path, problem, hint in findings:
            self.errors.append(self.registry.entries[id].error(problem, path, hint))
        if any(kind.name in _FUNCTIONS for kind in self.kinds.values()):
            from tasuki.kinds.check.functions import problems_of_functions

            self.errors += problems_of_functions(self.registry, self.configs)

    def _problems_of_schedules(self) -> Iterator[Finding]:
        if any(kind.name == "queue.schedule" for kind in self.kinds.values()):
            from tasuki.kinds.check.schedules import problems_of_scheduled, problems_of_schedules

            yield from problems_of_schedules(self.configs, self.kinds)
            yield from problems_of_scheduled(self.registry, self.configs)

    def _check_bodies(self) -> None:
        for entry in self.registry.of_kind("queue.queue"):
            if isinstance(entry.target, BodyType) and (problem := problem_of_type(entry.target.type_)):
                self.errors.append(InvalidEntryError(problem, position=entry.target.place, entry=entry.id))


def _circle_problem(circle: list[str], *, are_queues: bool) -> str:
    if len(circle) == 1:
        return f"queue {circle[0]!r} is its own dead-letter queue" if are_queues else f"{circle[0]!r} refers to itself"
    what = "dead letters would go round in a circle" if are_queues else "entries refer to each other in a circle"
    return f"{what}: {' → '.join(map(repr, [*circle, circle[0]]))}"


def _is_ours(driver: DriverKind | None) -> bool:
    """Whether ``max_length`` among a driver's options is the queue's own field, not the broker's own kind of bound."""
    return driver is None or not getattr(driver.queue_options, "has_own_max_length", False)


def _own_fields(entry: Entry, kind: Kind) -> Mapping[str, Any]:
    """The entry's fields; when an override swapped a driver or a store, without those that belong to others only."""
    if not is_overridden(entry, ("kind",)):
        return entry.data
    if isinstance(kind, DriverKind):
        others = [other.model for other in map(find_driver, driver_names()) if other is not None]
    else:
        others = [MemoryStoreConfig, DriverStoreConfig] if kind.name.startswith(STORE_PREFIX) else []
    foreign = {field for other in others for field in other.model_fields} - kind.model.model_fields.keys()
    foreign -= {field for field in foreign if is_overridden(entry, (field,))}  # who said it there means this driver
    return {field: value for field, value in entry.data.items() if field not in foreign}
