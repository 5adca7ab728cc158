"""Warnings: settings of a valid project without effect or with a cost, and their places."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from inspect import signature
from types import FunctionType

from tasuki.errors import Position
from tasuki.fields.types import DriverKind, NotHonored
from tasuki.kinds.check.conflicts import prices_of_places, shared_names
from tasuki.kinds.check.consumers import windows_too_small, without_effect
from tasuki.kinds.check.project import Project, option_path
from tasuki.kinds.check.rights import Rights
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.function import LuaFunctionConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.registry.entry import KeyPath
from tasuki.scalars import Substituted
from tasuki.units import format_duration

_SHELL_PLACEHOLDER = re.compile(r"\$\{[A-Z_][A-Z0-9_]*\}", re.ASCII)
_PART = 3
"""Of a lease or heartbeat: renewing is due after a third of it."""


@dataclass(frozen=True, slots=True)
class ConfigWarning:
    """Like a ConfigError, but the project can be used."""

    problem: str
    position: Position | None
    entry: str
    hint: str

    def __str__(self) -> str:
        """``file:line:column: entry: problem; hint``."""
        return ": ".join(
            part for part in (str(self.position or ""), self.entry, f"{self.problem}; {self.hint}") if part
        )


def warnings_of(project: Project) -> list[ConfigWarning]:
    """Every warning, ordered by place."""
    aspects = (
        _no_client,
        _no_library,
        _in_clear,
        _unused_options,
        _long_scripts,
        _nothing_declared,
        _not_started,
        _without_parameters,
        _competing,
        _retried_for_ever,
        _shared_workers,
        _plain_placeholders,
        _state,
        _open_desk,
    )
    found = [warning for aspect in aspects for warning in aspect(project)]
    return sorted(found, key=lambda warning: (warning.position or Position("\uffff"), warning.entry, warning.problem))


def _no_client(project: Project) -> Iterator[ConfigWarning]:
    """Drivers that could not be made here; the project may be meant for another machine."""
    for id, kind in project.kinds.items():
        if isinstance(kind, DriverKind) and kind.client and find_spec(kind.client) is None:
            hint = f"to run it, pip install 'tasuki[{kind.short_name}]'"
            place = project.registry.entries[id].position(("kind",))
            yield ConfigWarning(f"its client {kind.client!r} is not installed here", place, id, hint)


def _no_library(project: Project) -> Iterator[ConfigWarning]:
    """Queues whose messages could not be read here; likewise."""
    for id, config in project.of(QueueConfig).items():
        if config.compress is not None and config.compress.method == "zstd" and find_spec("zstandard") is None:
            place = project.registry.entries[id].position(("compress",))
            hint = "to run it, pip install 'tasuki[zstd]', or write compress: gzip"
            yield ConfigWarning("the library 'zstandard' is not installed here", place, id, hint)


def _in_clear(project: Project) -> Iterator[ConfigWarning]:
    """Drivers whose passwords anyone on the way to the broker can read."""
    for id, kind in project.kinds.items():
        if isinstance(kind, DriverKind) and kind.in_clear and (hosts := kind.in_clear(project.configs[id])):
            hint = "turn TLS on at the broker, and write the scheme that encrypts, or tls: {enabled: true}"
            place = project.registry.entries[id].position(("kind",))
            yield ConfigWarning(f"the password goes to {', '.join(hosts)} in clear", place, id, hint)


def _nothing_declared(project: Project) -> Iterator[ConfigWarning]:
    """Files without a namespace, which are skipped as they may belong to another program; and an empty project."""
    for place in project.registry.nameless:
        hint = "write namespace: app at the top of the file if it is part of the project"
        yield ConfigWarning("these entries are skipped: the file has no namespace", place, "", hint)
    if not project.configs:
        hint = "write jobs = app.queue('jobs') and @jobs.consumer, or in YAML a namespace and entries"
        yield ConfigWarning("nothing will be handled: there are no entries", None, "", hint)


def _not_started(project: Project) -> Iterator[ConfigWarning]:
    """Consumers that do not start, where their author may not have meant that."""
    needed = {id for targets in project.edges.values() for id in targets}
    for id, config in project.of(ConsumerConfig).items():
        if config.lifecycle.auto_start or "auto_start" in config.lifecycle.model_fields_set or id in needed:
            continue
        problem = (
            f"the consumer does not start, so it handles no message of {config.queue}: auto_start is false by default"
        )
        hint = "write lifecycle: {auto_start: true}, or auto_start: false to confirm it"
        yield ConfigWarning(problem, project.registry.entries[id].position(), id, hint)


def _without_parameters(project: Project) -> Iterator[ConfigWarning]:
    """Functions in code that handle messages and see nothing of them."""
    for id, config in project.of(ConsumerConfig).items():
        function = project.registry.entries[config.func].target if config.func else None
        if isinstance(function, FunctionType) and not signature(function).parameters:
            problem = f"the function {function.__name__!r} takes no parameter, so it does not see the body of a message"
            hint = f"write def {function.__name__}(body)"
            yield ConfigWarning(problem, project.registry.entries[id].position(), id, hint)


def _competing(project: Project) -> Iterator[ConfigWarning]:
    """Consumers of one queue with different functions: a message goes to one of them, and not to each."""
    first: dict[str, tuple[str, str | None]] = {}
    for id, config in project.of(ConsumerConfig).items():
        other, function = first.setdefault(config.queue, (id, config.func))
        if function != config.func and not config.funcs:
            problem = f"{config.queue} has the consumer {other} too: each message goes to one of the two functions"
            hint = "give each function its own queue, or call both in one function"
            yield ConfigWarning(problem, project.registry.entries[id].position(), id, hint)


def _retried_for_ever(project: Project) -> Iterator[ConfigWarning]:
    """Consumed queues whose messages are never given up, where their author may not have meant that."""
    queues = project.of(QueueConfig)
    letters = {config.dead_letter.queue for config in queues.values() if config.dead_letter is not None}
    consumed = {config.queue for config in project.of(ConsumerConfig).values() if not config.auto_ack}
    for id in sorted(consumed & queues.keys() - letters):
        config = queues[id]
        if config.dead_letter is None and "dead_letter" not in config.model_fields_set:
            problem = "a message that always fails is retried forever: the queue has no dead_letter"
            name = f"{id.rpartition(':')[2]}.dead"
            hint = f"write dead_letter: {{queue: {name}, max_attempts: 5}}, or dead_letter: null to confirm it"
            yield ConfigWarning(problem, project.registry.entries[id].position(), id, hint)


def _shared_workers(project: Project) -> Iterator[ConfigWarning]:
    for id, path, problem, hint in without_effect(project.configs):
        yield ConfigWarning(problem, project.registry.entries[id].position(path), id, hint)


def _state(project: Project) -> Iterator[ConfigWarning]:
    findings = (prices_of_places, shared_names, windows_too_small)
    for id, path, problem, hint in (found for find in findings for found in find(project.configs)):
        yield ConfigWarning(problem, project.registry.entries[id].position(path), id, hint)


def _open_desk(project: Project) -> Iterator[ConfigWarning]:
    """Projects that say who may do what, but not at the desk; an application's identity would lend it its rights."""
    rights = Rights(project)
    if rights.policies and rights.application is None and not rights.admin.are_declared:
        problem = "the desk has no rules: an actor who opens it may do whatever no policy denies"
        hint = "allow queue.admin.* with a condition on actor.id, or deny it, in a policy"
        yield ConfigWarning(problem, None, "", hint)
    for id in rights.admin.shut_by:
        problem = "it closes the desk to everyone: its actions match queue.admin.…, and an actor there has no meta"
        hint = "allow queue.admin.* with a condition on actor.id in another policy, or name the actions one by one"
        yield ConfigWarning(problem, project.registry.entries[id].position(), id, hint)


def _plain_placeholders(project: Project) -> Iterator[ConfigWarning]:
    """``${NAME}``, as a shell would have it: a file or password of that name is rarely meant."""
    for entry in project.registry:
        for path, text in _texts(entry.data, ()):
            if _SHELL_PLACEHOLDER.fullmatch(text) and not isinstance(text, Substituted):
                problem = f"{'.'.join(map(str, path))}: the value is plain text, not a placeholder"
                yield ConfigWarning(problem, entry.position(path), entry.id, "a placeholder is written ${env:NAME}")


def _texts(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping | list):
        for step, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _texts(item, (*path, step))


def _unused_options(project: Project) -> Iterator[ConfigWarning]:
    """Options of queues and consumers that their driver cannot honor."""
    for id, config in project.configs.items():
        if isinstance(config, QueueConfig):
            yield from _not_honored(project, id, project.driver_of(id), config.options)
        elif isinstance(config, ConsumerConfig):
            yield from _not_honored(project, id, project.driver_of(config.queue), config.driver_options)


def _not_honored(project: Project, id: str, driver: DriverKind, options: dict[str, object]) -> Iterator[ConfigWarning]:
    entry = project.registry.entries[id]
    model = driver.queue_options if entry.kind == "queue.queue" else driver.consumer_options
    for name, field in model.model_fields.items():
        reason = next((each.reason for each in field.metadata if isinstance(each, NotHonored)), None)
        if reason is not None and options.get(name, field.default) != field.default:
            place = entry.position(option_path(entry, driver, name) or ())
            problem = f"{driver.short_name} option {name} has no effect"
            yield ConfigWarning(problem, place, id, reason)


def _long_scripts(project: Project) -> Iterator[ConfigWarning]:
    """Shared scripts whose time limit is more than a third of the shortest lease or heartbeat."""
    shortest, whose = min(_patience(project), default=(0.0, ""))
    for id, config in project.of(LuaFunctionConfig).items():
        is_on_the_loop = config.isolation == "shared" and config.pool is None
        if shortest and is_on_the_loop and config.limits.time * _PART > shortest:
            limit = format_duration(config.limits.time)
            yield ConfigWarning(
                f"limits.time ({limit}) is more than a third of {whose}: a script that computes for so long delays"
                " the renewal",
                project.registry.entries[id].position(("limits", "time")),
                id,
                "lower it, or give the function a pool or isolation: process",
            )


def _patience(project: Project) -> Iterator[tuple[float, str]]:
    for id, config in project.configs.items():
        if isinstance(config, QueueConfig):
            yield config.lease, f"the lease of {id} ({format_duration(config.lease)})"
        elif heartbeat := getattr(config, "heartbeat", 0.0):
            yield heartbeat, f"the heartbeat of {id} ({format_duration(heartbeat)})"
