"""Kinds: what an entry may be, which model checks it, and what it may refer to."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasuki.fields.types import Config, Count

DRIVER_PREFIX = "queue.driver."


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of entry. A package adds one as an entry point of group ``tasuki.kinds``, named like the kind."""

    name: str
    model: type[Config]
    references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Fields that hold ids: dotted path (``*``: each item) → the kinds or families they may point to (none: any)."""


class NoOptions(Config):
    """A driver without options of this sort."""


class LengthOptions(Config):
    """Options of a queue whose driver bounds it itself."""

    max_length: Count | None = None
    """Most messages the queue may hold; 0: no limit."""


@dataclass(frozen=True, slots=True)
class DriverKind(Kind):
    """A kind of driver. A package adds one as an entry point of group ``tasuki.drivers``, named like its short name.

    ``model`` is the settings that the driver is made with, each with its type, default, unit and text: an entry
    also has the fields of every driver (``durability``, ``lifecycle``).
    """

    contract: int = 0
    """The edition of the contract that the class keeps (``tasuki.contracts.driver.CONTRACT`` when it was written).

    A kind of another package must name it, as a number; those built in keep the edition that they come with.
    """
    driver: str = ""
    """Import path of the class, such as ``my_package.driver:MyDriver``; called with name, settings, clock."""
    client: str = ""
    """Import name of the package that it needs, which is the extra of its short name; empty: none."""
    queue_options: type[Config] = NoOptions
    consumer_options: type[Config] = NoOptions
    too_long: Callable[[Any, Any, float], str] | None = None
    """Why a queue's messages cannot have this delay in seconds, by its driver's settings and its own; or empty."""
    clash: Callable[[Any], tuple[str, str] | None] | None = None
    """Which field of a queue its driver cannot keep beside others of it, and why; None: it keeps them all."""
    place: Callable[[Any, Path], Hashable] | None = None
    """Where queues are, by the driver's settings and the project's folder: drivers with equal places share them.

    None: each entry has its own.
    """

    in_clear: Callable[[Any], Sequence[str]] | None = None
    """The hosts beyond this machine to which a password goes unencrypted, by the driver's settings; None: nowhere."""

    @property
    def short_name(self) -> str:
        """``memory`` for ``queue.driver.memory``: what its bag in ``driver_options`` is called."""
        return self.name.removeprefix(DRIVER_PREFIX)
