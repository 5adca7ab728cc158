"""The capabilities of a kind of driver, read from its class, which needs no installed client."""

from __future__ import annotations

import importlib

from tasuki.contracts.driver import Capabilities, Driver
from tasuki.errors import UnsupportedError
from tasuki.fields.kinds import DriverKind
from tasuki.kinds.kind import driver_names, find_driver


def driver_class(kind: DriverKind) -> type[Driver]:
    """The class behind a kind of driver. Raises UnsupportedError when it cannot be imported."""
    module, _, name = kind.driver.partition(":")
    try:
        found: type[Driver] = getattr(importlib.import_module(module), name)
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
