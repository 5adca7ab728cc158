"""Checked configurations → the objects that they describe: drivers, queue specs, handlers and resources."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from tasuki.clock import Clock
from tasuki.contracts.context import Around
from tasuki.contracts.driver import Capabilities, Driver, Limit, QueueSpec
from tasuki.contracts.handler import Handler
from tasuki.contracts.recycling import Limits
from tasuki.errors import HandlerError, UnsupportedError
from tasuki.fields.types import DRIVER_PREFIX, Config, DriverKind, InProject, Kind, TlsConfig, is_pem
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.function import (
    MOST_PROCESSES,
    LuaFunctionConfig,
    LuaLibraryConfig,
    PythonFunctionConfig,
    PythonLimits,
)
from tasuki.kinds.entries.lifecycle import DriverConfig
from tasuki.kinds.entries.queue import QueueConfig, limit_of_lanes, whole_limit
from tasuki.kinds.entries.store import DriverStoreConfig, MemoryStoreConfig
from tasuki.queues.messages.codec import require
from tasuki.queues.policy import QueuePolicy, ResultPolicy

if TYPE_CHECKING:
    from tasuki.handlers.providing.providers import Providers
    from tasuki.kinds.stores import Opened


def limit_of_driver(config: QueueConfig, capabilities: Capabilities | None) -> Limit | None:
    """The limit over the whole queue, if its driver keeps limits, as it does without ``capabilities``."""
    return _whole(config) if capabilities is None or capabilities.has("limits") else None


def limit_of_workers(config: QueueConfig, capabilities: Capabilities | None) -> Limit | None:
    """The limit over the whole queue, if its driver keeps none."""
    return None if limit_of_driver(config, capabilities) else _whole(config)


def lane_limit_of(config: QueueConfig) -> Limit | None:
    """The limit of each lane alone, which no worker could keep."""
    return None if (limit := limit_of_lanes(config.limit)) is None else limit.limit()


def turn_of(config: QueueConfig) -> int:
    """Most messages of a lane in its turn; 0: the queue has no lanes."""
    if config.fair is not None:
        return config.fair.share
    return int(config.lane_rule is not None)


def _whole(config: QueueConfig) -> Limit | None:
    return None if (limit := whole_limit(config.limit)) is None else limit.limit()


_log = logging.getLogger("tasuki.app")


def driver_settings(project: Project, id: str) -> Config:
    """What a driver is made with: files by their full path, and AWS's account in place of its id."""
    config = project.configs[id]
    found: dict[str, Any] = {}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, str) and any(isinstance(each, InProject) for each in field.metadata):
            found[name] = str(project.registry.root / value)
        elif isinstance(value, str) and value in project.kinds and project.kinds[value].name == "config.aws":
            found[name] = project.configs[value]
        elif isinstance(value, TlsConfig):
            found[name] = _with_full_paths(value, project.registry.root)
    return config.model_copy(update=found)


def is_same_driver(old: Config, new: Config) -> bool:
    """Whether two entries make the same driver: all but ``lifecycle`` and ``durability`` is equal."""
    return type(old) is type(new) and _settings_of(old) == _settings_of(new)


def _settings_of(config: Config) -> dict[str, Any]:
    return {name: value for name, value in config if name not in DriverConfig.model_fields}


def _with_full_paths(tls: TlsConfig, root: Path) -> TlsConfig:
    files = {name: getattr(tls, name) for name in ("ca", "cert") if getattr(tls, name)}
    found: dict[str, Any] = {name: str(root / value) for name, value in files.items() if not is_pem(value)}
    if tls.key is not None and not is_pem(tls.key.get_secret_value()):
        found["key"] = SecretStr(str(root / tls.key.get_secret_value()))
    return tls.model_copy(update=found)


def build_driver(project: Project, id: str, clock: Clock) -> Driver:
    """The driver of an entry; its client is imported here, and only here.

    Raises:
        UnsupportedError: the client is not installed; the message says what to install.
    """
    kind = project.kinds[id]
    assert isinstance(kind, DriverKind)
    module, _, class_name = kind.driver.partition(":")
    settings = driver_settings(project, id)
    try:
        driver: Driver = getattr(importlib.import_module(module), class_name)(id, settings, clock)
    except (ImportError, AttributeError) as error:
        ours = module.startswith("tasuki.")
        remedy = f"pip install 'tasuki[{kind.short_name}]'" if ours else f"check {kind.driver!r}"
        raise UnsupportedError(f"driver {id!r} cannot be loaded: {error}; {remedy}", driver=id) from error
    tls = getattr(project.configs[id], "tls", None)
    if isinstance(tls, TlsConfig) and tls.enabled and tls.insecure_skip_verify:
        _log.warning(
            "driver %s: insecure_skip_verify trusts any certificate, so any server on the way can read passwords and "
            "messages; give the certificate to trust as tls: {ca}",
            id,
            extra={"driver": id},
        )
    return driver


def queue_spec(config: QueueConfig, capabilities: Capabilities | None = None) -> QueueSpec:
    """What a driver must know of a queue; ``capabilities``: the driver's, if it need not keep all limits."""
    return QueueSpec(
        name=config.queue_name,
        lease=config.lease,
        max_length=config.max_length,
        ordering=config.ordering,
        dedup_window=config.dedup_window,
        priorities="priority" in config.requires,
        limit=limit_of_driver(config, capabilities),
        lane_limit=lane_limit_of(config),
        fair=turn_of(config),
        options=config.options,
    )


def largest_letters(project: Project) -> dict[str, int]:
    """By dead-letter queue: bytes of the largest body of the queues whose dead letters it gets."""
    queues = project.of(QueueConfig)
    sizes: dict[str, int] = {}
    waiting = list(queues)
    while waiting:  # a dead-letter queue sends larger bodies than its own on to its own
        config = queues[id := waiting.pop()]
        size = max(config.max_message_size, sizes.get(id, 0))
        if config.dead_letter is not None and size > sizes.get(config.dead_letter.queue, 0):
            sizes[config.dead_letter.queue] = size
            waiting.append(config.dead_letter.queue)
    return sizes


def tasks_of_queues(project: Project) -> dict[str, tuple[str, ...]]:
    """By queue: the names of its tasks, where its consumers have nothing for a message that names none."""
    found: dict[str, tuple[str, ...]] = {}
    with_others = set()
    for consumer in project.of(ConsumerConfig).values():
        found[consumer.queue] = tuple(consumer.funcs)
        if consumer.func is not None:
            with_others.add(consumer.queue)
    return {queue: tasks for queue, tasks in found.items() if tasks and queue not in with_others}


def queue_policy(
    config: QueueConfig,
    capabilities: Capabilities | None = None,
    *,
    letters: int = 0,
    tasks: tuple[str, ...] = (),
) -> QueuePolicy:
    """What the framework enforces for a queue.

    ``capabilities``: see ``queue_spec``; ``letters``: bytes of the largest body of the dead letters that it gets;
    ``tasks``: see ``tasks_of_queues``.

    Raises:
        UnsupportedError: the library of its compression is not installed; the message says what to install.
    """
    if config.compress is not None:
        try:
            require(config.compress.method)
        except HandlerError as error:
            raise UnsupportedError(f"queue {config.queue_name!r}: {error}", queue=config.queue_name) from error
    return QueuePolicy(
        max_message_size=config.max_message_size,
        max_letter_size=letters,
        message_ttl=config.message_ttl,
        overflow=config.overflow,
        dead_letter=config.dead_letter.queue if config.dead_letter else None,
        max_attempts=config.retry.max_attempts or (config.dead_letter.max_attempts if config.dead_letter else 5),
        drop_expired=config.on_expire == "drop",
        retry=config.retry.backoff(),
        retry_rules=config.retry.rules(),
        compression=config.compress.compression() if config.compress else None,
        result=ResultPolicy(config.result.ttl, config.result.max_size) if config.result else None,
        cancels_strictly=config.cancel == "strict",
        signing=config.signing.signing() if config.signing else None,
        unique=config.unique.rule() if config.unique else None,
        lanes=config.lane_rule,
        tasks=tasks,
        worker_limit=limit_of_workers(config, capabilities),
    )


def build_handler(
    project: Project,
    id: str,
    threads: int,
    role: str = "func",
    providers: Providers | None = None,
    around: Around | None = None,
    prepare_child: str | None = None,
) -> Handler:
    """The handler of a function entry, not yet started.

    ``threads``: how many sync calls may run at a time; ``role``: see :func:`tasuki.kinds.check.consumers.roles`;
    ``providers``: what a Python function may be given; ``around``: of Python functions that run in this process;
    ``prepare_child``: see PythonTarget.
    """
    config = project.configs[id]
    if isinstance(config, LuaFunctionConfig):
        return _lua_handler(project, id, config, threads)
    assert isinstance(config, PythonFunctionConfig)
    if config.isolation == "process":
        return _isolated_python(id, config, threads, role, prepare_child)
    from tasuki.handlers.python import PythonBatch, PythonHandler
    from tasuki.handlers.task import PythonGiveUp, PythonTask

    kind = {"task": PythonTask, "on_give_up": PythonGiveUp, "batch": PythonBatch}.get(role, PythonHandler)
    return kind(
        id,
        target=project.registry.entries[id].target,
        import_path=config.target,
        source=config.source.file if config.source else None,
        method=config.method,
        threads=threads,
        providers=providers,
        around=around,
    )


def _processes(config: LuaFunctionConfig | PythonFunctionConfig, threads: int) -> int:
    return config.pool.workers if config.pool else min(threads, MOST_PROCESSES)


def _limits(config: LuaFunctionConfig | PythonFunctionConfig) -> Limits:
    return config.pool.limits if config.pool else Limits()


def _isolated_python(
    id: str, config: PythonFunctionConfig, threads: int, role: str, prepare_child: str | None
) -> Handler:
    from tasuki.handlers.isolated import IsolatedPythonHandler, PythonTarget

    limits = config.limits or PythonLimits()
    target = PythonTarget(
        id,
        import_path=config.target,
        source=str(config.source.file) if config.source else None,
        method=config.method,
        threads=threads,
        memory=limits.memory,
        is_task=role == "task",
        prepare=prepare_child,
    )
    processes = _processes(config, threads)
    return IsolatedPythonHandler(target, time=limits.time, processes=processes, limits=_limits(config))


def _lua_handler(project: Project, id: str, config: LuaFunctionConfig, threads: int) -> Handler:
    from tasuki.handlers.lua.script import LuaScript, ScriptLimits

    limits = config.limits
    script = LuaScript(
        id,
        source=_lua_source(project, id, config),
        method=config.method,
        modules=config.modules,
        imports=_lua_imports(project, config),
        limits=ScriptLimits(memory=limits.memory, time=limits.time, instructions=limits.instructions),
    )
    if config.isolation == "process":
        from tasuki.handlers.lua.remote.isolated import IsolatedLuaHandler

        return IsolatedLuaHandler(script, processes=_processes(config, threads), limits=_limits(config))
    if config.pool is not None:
        from tasuki.handlers.lua.remote.shared import ThreadedLuaHandler

        return ThreadedLuaHandler(script, threads=config.pool.workers)
    from tasuki.handlers.lua.remote.shared import SharedLuaHandler

    return SharedLuaHandler(script)


def _lua_source(project: Project, id: str, config: LuaLibraryConfig) -> Any:
    from tasuki.handlers.lua.script import LuaSource

    name = _relative(config.source.file, project) if config.source.file else id
    return LuaSource(config.source.text, name)


def _relative(file: Path, project: Project) -> str:
    """A source file as its author knows it: from the project's folder."""
    root = project.registry.root.resolve()
    return str(file.relative_to(root)) if file.is_relative_to(root) else file.name


def _lua_imports(project: Project, config: LuaLibraryConfig) -> Mapping[str, Any]:
    from tasuki.handlers.lua.script import LuaLibrary

    libraries = {}
    for alias, id in config.imports.items():
        library = project.configs[id]
        assert isinstance(library, LuaLibraryConfig)
        libraries[alias] = LuaLibrary(
            id, _lua_source(project, id, library), library.modules, _lua_imports(project, library)
        )
    return libraries


def is_function(config: Config) -> bool:
    """Whether an entry is a function, which a consumer can call."""
    return isinstance(config, LuaFunctionConfig | PythonFunctionConfig)


def build_resource(
    config: Config, kinds: Mapping[str, Kind], id: str, clock: Clock, find: Callable[[str, str], Opened]
) -> Any:
    """The object behind a resource entry (a store), or None for an entry that is no resource.

    A kind from another package is a resource if its model has a method ``build(id, clock)``.
    ``kinds``: of all entries, by id. ``find``: how to open a store, by the id of its driver and its name.
    """
    if isinstance(config, MemoryStoreConfig | DriverStoreConfig):
        from tasuki.kinds.stores import driver_store, memory_store
    if isinstance(config, MemoryStoreConfig):
        return memory_store(id, max_size=config.max_size, max_bytes=config.max_bytes, clock=clock)
    if isinstance(config, DriverStoreConfig):
        return driver_store(id, config, kinds[config.driver].name.removeprefix(DRIVER_PREFIX), find)
    build = getattr(config, "build", None)
    return build(id, clock) if build else None
