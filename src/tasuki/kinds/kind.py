"""Kinds of entries, built in or from other packages: their models, their references, and what drivers can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import new_class

from tasuki.contracts.driver import CONTRACT, Capabilities, Driver
from tasuki.errors import UnknownKindError, UnsupportedError
from tasuki.fields.types import DRIVER_PREFIX, DriverKind, Kind
from tasuki.registry.entry import did_you_mean

_HINTS = {
    "security.token_store": "there are no tokens in this version",
    "security.scope": "name the policies at the consumer, or give them a group",
}

_ALL_KINDS = "tasuki schema lists every kind"


_DRIVERS = ("memory", "sqlite", "amqp", "redis", "sqs", "postgres", "nats")

_HOMES: Mapping[str, tuple[str, ...]] = {
    "tasuki.kinds.entries.queue": ("queue.queue",),
    "tasuki.kinds.entries.consumer": ("queue.consumer", "queue.worker", "health.config"),
    "tasuki.kinds.entries.schedule": ("queue.schedule",),
    "tasuki.kinds.entries.function": (
        "function.lua", "function.python", "library.lua", "middleware.python", "provider.python", "hook.python",
    ),
    "tasuki.kinds.entries.store": ("store.memory", "store.sqlite", "store.postgres", "store.redis", "store.nats"),
    "tasuki.kinds.entries.env": (
        "env.variable",
        "env.storage.memory", "env.storage.os", "env.storage.static", "env.storage.router", "env.storage.file",
    ),
    "tasuki.kinds.entries.security": ("security.policy", "security.policy.expr", "security.config"),
    "tasuki.kinds.entries.telemetry": ("metrics.config", "traces.config"),
    "tasuki.drivers.sqs.aws": ("config.aws",),
}  # fmt: skip
"""Modules → the kinds that they define in ``KINDS``."""

_BUILT_IN: Mapping[str, str] = {
    **{DRIVER_PREFIX + name: f"tasuki.drivers.{name}.settings" for name in _DRIVERS},
    **{kind: module for module, kinds in _HOMES.items() for kind in kinds},
}
"""Kind → its module, imported when an entry is of that kind: a publisher imports the settings of one driver."""


def built_in_drivers() -> list[DriverKind]:
    """The drivers of this version, as their modules define them: without the fields that every entry has."""
    return [import_module(_BUILT_IN[DRIVER_PREFIX + name]).KIND for name in _DRIVERS]


def _built_in(name: str) -> Kind:
    module = import_module(_BUILT_IN[name])
    if name.startswith(DRIVER_PREFIX):
        return as_entry(module.KIND)
    found: Kind = next(kind for kind in module.KINDS if kind.name == name)
    return found


@cache
def _from_packages() -> dict[str, EntryPoint]:
    kinds = {point.name: point for point in entry_points(group="tasuki.kinds")}
    return kinds | {DRIVER_PREFIX + point.name: point for point in entry_points(group="tasuki.drivers")}


@cache
def find_kind(name: str) -> Kind:
    """The kind of this name; other packages are asked, and imported, only for kinds that are not built in.

    Raises:
        UnknownKindError: no installed package provides it, or its package cannot be imported.
    """
    if name in _BUILT_IN:
        return _built_in(name)
    point = _from_packages().get(name)
    if point is None:
        raise UnknownKindError(f"kind {name!r} is not known", hint=_hint(name))
    try:
        kind = point.load()
    except Exception as error:
        raise UnknownKindError(f"kind {name!r} is provided by {point.value!r}, which fails: {error}") from error
    if not isinstance(kind, Kind):
        raise UnknownKindError(f"kind {name!r} is provided by {point.value!r}, which is not a Kind")
    if not isinstance(kind, DriverKind):
        return kind
    if kind.contract != CONTRACT:
        raise _other_contract(kind, point)
    return as_entry(kind)


def as_entry(kind: DriverKind) -> DriverKind:
    """The kind with the fields that every driver has beside its settings, and their references."""
    from tasuki.kinds.entries.lifecycle import REFERENCES, DriverConfig

    name = kind.model.__name__.removesuffix("Settings").removesuffix("Config") + "DriverConfig"
    model = new_class(name, (kind.model, DriverConfig), exec_body=lambda body: body.update(__doc__=kind.model.__doc__))
    return replace(kind, model=model, references={**REFERENCES, "state": ("store",), **kind.references})


def _other_contract(kind: DriverKind, point: EntryPoint) -> UnknownKindError:
    named = f"is for contract {kind.contract}" if kind.contract else "names no contract"
    problem = f"kind {kind.name!r} is provided by {point.value!r}, which {named}; this Tasuki has contract {CONTRACT}"
    if kind.contract > CONTRACT:
        return UnknownKindError(problem, hint="install a newer tasuki, or an older version of that package")
    hint = f"install a version of that package whose kind says contract={CONTRACT}"
    return UnknownKindError(problem, hint=f"{hint}; docs/writing-a-driver.md says what a driver must keep")


def kind_names() -> list[str]:
    """Every kind that can be used, sorted."""
    return sorted(_BUILT_IN.keys() | _from_packages().keys())


def find_driver(short_name: str) -> DriverKind | None:
    """The driver of this short name; None if there is none, or if it cannot be imported."""
    name = DRIVER_PREFIX + short_name
    if name not in _BUILT_IN and name not in _from_packages():
        return None
    try:
        kind = find_kind(name)
    except UnknownKindError:
        return None
    return kind if isinstance(kind, DriverKind) else None


def driver_names() -> list[str]:
    """Short names of the drivers that can be used, sorted."""
    return [name.removeprefix(DRIVER_PREFIX) for name in kind_names() if name.startswith(DRIVER_PREFIX)]


def _hint(name: str) -> str:
    if name.startswith(DRIVER_PREFIX):
        # By the short names: all drivers look alike by what they have in common.
        near = did_you_mean(name.removeprefix(DRIVER_PREFIX), driver_names())
        return near.replace("'", f"'{DRIVER_PREFIX}", 1) or f"available drivers: {', '.join(driver_names())}"
    if near := did_you_mean(name, kind_names(), cutoff=0.9):
        return near
    family = name.partition(".")[0]
    if hint := _HINTS.get(name) or _HINTS.get(family):
        return hint
    relatives = [kind for kind in kind_names() if kind.partition(".")[0] == family]
    if relatives:
        return f"known are: {', '.join(relatives)}"
    shortened = {kind.rpartition(".")[2]: kind for kind in reversed(kind_names())}.get(name)  # drivers before stores
    return f"did you mean {shortened!r}?" if shortened else did_you_mean(name, kind_names()) or _ALL_KINDS


def driver_class(kind: DriverKind) -> type[Driver]:
    """The class behind a kind of driver. Raises UnsupportedError when it cannot be imported."""
    module, _, name = kind.driver.partition(":")
    try:
        found: type[Driver] = getattr(import_module(module), name)
    except Exception as error:  # another package's module may raise anything
        raise UnsupportedError(f"driver {kind.short_name!r} cannot be loaded: {error}") from error
    return found


def capabilities_of(kind: DriverKind) -> Capabilities | None:
    """What the driver can do; None if its class cannot be imported."""
    try:
        return driver_class(kind).capabilities
    except UnsupportedError:
        return None


def all_capabilities() -> dict[str, Capabilities]:
    """The capabilities of each driver of this installation, by short name, without drivers that cannot be imported."""
    kinds = {name: find_driver(name) for name in driver_names()}
    found = {name: capabilities_of(kind) for name, kind in kinds.items() if kind is not None}
    return {name: capabilities for name, capabilities in found.items() if capabilities is not None}


def priority_advice(queue: str) -> str:
    """What to write at a queue whose driver must know of priorities beforehand, and which drivers need no line."""
    free = [
        name
        for name, has in all_capabilities().items()
        if has.has("native_priority") and not has.has("declares_priorities")
    ]
    return f"add 'requires: [priority]' to the entry {queue!r} (these drivers need no such line: {', '.join(free)})"
