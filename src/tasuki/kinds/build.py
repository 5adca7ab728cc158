"""Checked configurations → the objects that they describe: drivers, queue specs, handlers and resources."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from tasuki.clock import Clock
from tasuki.contracts.driver import Driver, QueueSpec
from tasuki.contracts.handler import Handler
from tasuki.drivers.toolkit.pem import is_pem
from tasuki.errors import UnsupportedError
from tasuki.kinds.aws import AwsConfig
from tasuki.kinds.check.project import Project
from tasuki.kinds.drivers.tls import TlsConfig
from tasuki.kinds.entries.function import (
    MOST_PROCESSES,
    LuaFunctionConfig,
    LuaLibraryConfig,
    PythonFunctionConfig,
    PythonLimits,
)
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.entries.store import MemoryStoreConfig
from tasuki.kinds.fields import Config
from tasuki.kinds.kind import DriverKind
from tasuki.queues.queue import QueuePolicy

_log = logging.getLogger("tasuki.app")

_FILES = {"path", "credentials_file", "nkey_seed_file"}
"""Fields of drivers that name a file; a relative one starts at the project's folder."""


def driver_fields(project: Project, id: str) -> dict[str, Any]:
    """What a driver is made with, secrets readable: two entries with equal fields make the same driver."""
    fields: dict[str, Any] = _revealed(
        project.configs[id].model_dump(by_alias=True, exclude={"lifecycle", "durability"})
    )
    for name in _FILES & fields.keys():
        if isinstance(fields[name], str):
            fields[name] = project.registry.root / fields[name]
    if isinstance(tls := fields.get("tls"), dict):
        files = [name for name in ("ca", "cert", "key") if tls.get(name) and not is_pem(tls[name])]
        fields["tls"] = {**tls, **{name: str(project.registry.root / tls[name]) for name in files}}
    if isinstance(aws := project.configs.get(fields.get("config") or ""), AwsConfig):
        fields["config"] = _revealed(aws.model_dump())
    return fields


def build_driver(project: Project, id: str, clock: Clock) -> Driver:
    """The driver of an entry; its client is imported here, and only here.

    Raises:
        UnsupportedError: the client is not installed; the message says what to install.
    """
    kind = project.kinds[id]
    assert isinstance(kind, DriverKind)
    module, _, class_name = kind.driver.partition(":")
    fields = driver_fields(project, id)
    try:
        driver: Driver = getattr(importlib.import_module(module), class_name)(id, clock=clock, **fields)
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


def _revealed(value: Any) -> Any:
    """The fields with their secrets readable, for the driver alone."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return {name: _revealed(item) for name, item in value.items()}
    return [_revealed(item) for item in value] if isinstance(value, list) else value


def queue_spec(config: QueueConfig) -> QueueSpec:
    """What the driver must know of a queue."""
    return QueueSpec(
        name=config.queue_name,
        lease=config.lease,
        max_length=config.max_length,
        ordering=config.ordering,
        dedup_window=config.dedup_window,
        priorities="priority" in config.requires,
        options=config.options,
    )


def queue_policy(config: QueueConfig) -> QueuePolicy:
    """What the framework enforces for a queue."""
    return QueuePolicy(
        max_message_size=config.max_message_size,
        message_ttl=config.message_ttl,
        overflow=config.overflow,
        dead_letter=config.dead_letter.queue if config.dead_letter else None,
        max_attempts=config.dead_letter.max_attempts if config.dead_letter else 5,
        drop_expired=config.on_expire == "drop",
        retry=config.retry.backoff(),
        retry_rules=config.retry.rules(),
        signing=config.signing.signing() if config.signing else None,
    )


def build_handler(project: Project, id: str, threads: int) -> Handler:
    """The handler of a function entry, not yet started; ``threads``: how many sync calls may run at a time."""
    config = project.configs[id]
    if isinstance(config, LuaFunctionConfig):
        return _lua_handler(project, id, config, threads)
    assert isinstance(config, PythonFunctionConfig)
    if config.isolation == "process":
        return _isolated_python(id, config, threads)
    from tasuki.handlers.python import PythonHandler

    return PythonHandler(
        id,
        target=project.registry.entries[id].target,
        import_path=config.target,
        source=config.source.file if config.source else None,
        method=config.method,
        threads=threads,
    )


def _processes(config: LuaFunctionConfig | PythonFunctionConfig, threads: int) -> int:
    return config.pool.workers if config.pool else min(threads, MOST_PROCESSES)


def _isolated_python(id: str, config: PythonFunctionConfig, threads: int) -> Handler:
    from tasuki.handlers.isolated import IsolatedPythonHandler, PythonTarget

    limits = config.limits or PythonLimits()
    target = PythonTarget(
        id,
        import_path=config.target,
        source=str(config.source.file) if config.source else None,
        method=config.method,
        threads=threads,
        memory=limits.memory,
    )
    return IsolatedPythonHandler(target, time=limits.time, processes=_processes(config, threads))


def _lua_handler(project: Project, id: str, config: LuaFunctionConfig, threads: int) -> Handler:
    from tasuki.handlers.lua.limits import LuaLimits
    from tasuki.handlers.lua.script import LuaScript

    limits = config.limits
    script = LuaScript(
        id,
        source=_lua_source(project, id, config),
        method=config.method,
        modules=config.modules,
        imports=_lua_imports(project, config),
        limits=LuaLimits(memory=limits.memory, time=limits.time, instructions=limits.instructions),
    )
    if config.isolation == "process":
        from tasuki.handlers.lua.remote.isolated import IsolatedLuaHandler

        return IsolatedLuaHandler(script, processes=_processes(config, threads))
    if config.pool is not None:
        from tasuki.handlers.lua.remote.threaded import ThreadedLuaHandler

        return ThreadedLuaHandler(script, threads=config.pool.workers)
    from tasuki.handlers.lua.handler import LuaHandler

    return LuaHandler(
        id,
        source=script.source,
        method=script.method,
        modules=script.modules,
        imports=script.imports,
        limits=script.limits,
    )


def _lua_source(project: Project, id: str, config: LuaLibraryConfig) -> Any:
    from tasuki.handlers.lua.source import LuaSource

    name = _relative(config.source.file, project) if config.source.file else id
    return LuaSource(config.source.text, name)


def _relative(file: Path, project: Project) -> str:
    """A source file as its author knows it: from the project's folder."""
    root = project.registry.root.resolve()
    return str(file.relative_to(root)) if file.is_relative_to(root) else file.name


def _lua_imports(project: Project, config: LuaLibraryConfig) -> Mapping[str, Any]:
    from tasuki.handlers.lua.source import LuaLibrary

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


def build_resource(config: Config, id: str, clock: Clock) -> Any:
    """The object behind a resource entry (a store), or None for an entry that is no resource.

    A kind from another package is a resource if its model has a method ``build(id, clock)``.
    """
    if isinstance(config, MemoryStoreConfig):
        from tasuki.handlers.store import MemoryStore

        return MemoryStore(
            id,
            max_size=config.max_size,
            max_bytes=config.max_bytes,
            cleanup_interval=config.cleanup_interval,
            clock=clock,
        )
    build = getattr(config, "build", None)
    return build(id, clock) if build else None
