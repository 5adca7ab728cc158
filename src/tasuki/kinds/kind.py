"""Kinds: what an entry may be, which model checks it, and what it may refer to; built in or from other packages."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from tasuki.contracts.driver import CONTRACT
from tasuki.errors import UnknownKindError
from tasuki.kinds.fields import Config
from tasuki.registry.references import did_you_mean

DRIVER_PREFIX = "queue.driver."

_HINTS = {
    "security.token_store": "there are no tokens in this version",
    "security.scope": "name the policies at the consumer, or give them a group",
}
_ALL_KINDS = "tasuki schema lists every kind"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of entry. A package adds one as an entry point of group ``tasuki.kinds``, named like the kind."""

    name: str
    model: type[Config]
    references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Fields that hold ids: dotted path (``*``: each item) → the kinds or families they may point to (none: any)."""


class NoOptions(Config):
    """A driver without options of this sort."""


@dataclass(frozen=True, slots=True)
class DriverKind(Kind):
    """A kind of driver. A package adds one as an entry point of group ``tasuki.drivers``, named like its short name."""

    contract: int = 0
    """The edition of the contract that the class keeps (``tasuki.contracts.driver.CONTRACT`` when it was written).

    A kind of another package must name it, as a number; those built in keep the edition that they come with.
    """
    driver: str = ""
    """Import path of the class, such as ``tasuki.drivers.sqlite:SQLiteDriver``."""
    client: str = ""
    """Import name of the package that it needs, which is the extra of its short name; empty: none."""
    queue_options: type[Config] = NoOptions
    consumer_options: type[Config] = NoOptions
    too_long: Callable[[Any, Any, float], str] | None = None
    """Why a queue's messages cannot have a delay of so many seconds, by its driver's fields and its own; or empty."""
    place: Callable[[Any, Path], Hashable] | None = None
    """Where queues are, by the driver's fields and the project's folder: drivers with equal places share them.

    None: each entry has its own.
    """

    @property
    def short_name(self) -> str:
        """``memory`` for ``queue.driver.memory``: what its bag in ``driver_options`` is called."""
        return self.name.removeprefix(DRIVER_PREFIX)


@cache
def _built_in() -> dict[str, Kind]:
    from tasuki.kinds import aws, drivers
    from tasuki.kinds.entries import consumer, env, function, queue, security, store

    families = (drivers, queue, consumer, function, store, env, aws, security)
    return {kind.name: kind for family in families for kind in family.KINDS}


@cache
def _from_packages() -> dict[str, EntryPoint]:
    kinds = {point.name: point for point in entry_points(group="tasuki.kinds")}
    return kinds | {DRIVER_PREFIX + point.name: point for point in entry_points(group="tasuki.drivers")}


@cache
def find_kind(name: str) -> Kind:
    """The kind of this name; other packages are asked, and imported, only for kinds that are not built in.

    Raises:
        UnknownKindError: nobody provides it, or its package cannot be imported.
    """
    if kind := _built_in().get(name):
        return kind
    point = _from_packages().get(name)
    if point is None:
        raise UnknownKindError(f"kind {name!r} is not known", hint=_hint(name))
    try:
        kind = point.load()
    except Exception as error:
        raise UnknownKindError(f"kind {name!r} is provided by {point.value!r}, which fails: {error}") from error
    if not isinstance(kind, Kind):
        raise UnknownKindError(f"kind {name!r} is provided by {point.value!r}, which is not a Kind")
    if isinstance(kind, DriverKind) and kind.contract != CONTRACT:
        raise _other_contract(kind, point)
    return kind


def _other_contract(kind: DriverKind, point: EntryPoint) -> UnknownKindError:
    named = f"is for contract {kind.contract}" if kind.contract else "names no contract"
    problem = f"kind {kind.name!r} is provided by {point.value!r}, which {named}; this Tasuki has contract {CONTRACT}"
    if kind.contract > CONTRACT:
        return UnknownKindError(problem, hint="install a newer tasuki, or an older version of that package")
    hint = f"install a version of that package whose kind says contract={CONTRACT}"
    return UnknownKindError(problem, hint=f"{hint}; docs/writing-a-driver.md says what a driver must keep")


def kind_names() -> list[str]:
    """Every kind that can be used, sorted."""
    return sorted(_built_in().keys() | _from_packages().keys())


def find_driver(short_name: str) -> DriverKind | None:
    """The driver of this short name; None if there is none, or if it cannot be imported."""
    name = DRIVER_PREFIX + short_name
    if name not in _built_in() and name not in _from_packages():
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
    shortened = {kind.rpartition(".")[2]: kind for kind in kind_names()}.get(name)
    return f"did you mean {shortened!r}?" if shortened else did_you_mean(name, kind_names()) or _ALL_KINDS
