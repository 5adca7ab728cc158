"""Kinds: the types of entries, their models and their references; built in or from other packages."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import new_class

from tasuki.contracts.driver import CONTRACT
from tasuki.errors import UnknownKindError
from tasuki.fields.kinds import DRIVER_PREFIX, DriverKind, Kind
from tasuki.registry.references import did_you_mean

_HINTS = {
    "security.token_store": "there are no tokens in this version",
    "security.scope": "name the policies at the consumer, or give them a group",
}
_ALL_KINDS = "tasuki schema lists every kind"


@cache
def _built_in() -> dict[str, Kind]:
    from tasuki.drivers.kinds import KINDS
    from tasuki.drivers.sqs import aws
    from tasuki.kinds.entries import consumer, env, function, queue, schedule, security, store, worker
    from tasuki.kinds.entries.telemetry import metrics, traces

    families = (queue, consumer, schedule, worker, function, store, env, aws, security, metrics, traces)
    drivers = {kind.name: as_entry(kind) for kind in KINDS}
    return {**drivers, **{kind.name: kind for family in families for kind in family.KINDS}}


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
    if not isinstance(kind, DriverKind):
        return kind
    if kind.contract != CONTRACT:
        raise _other_contract(kind, point)
    return as_entry(kind)


def as_entry(kind: DriverKind) -> DriverKind:
    """The kind with the fields that every driver has beside its settings, and their references."""
    from tasuki.kinds.entries.driver import DriverConfig
    from tasuki.kinds.entries.lifecycle import REFERENCES

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
    shortened = {kind.rpartition(".")[2]: kind for kind in reversed(kind_names())}.get(name)  # drivers before stores
    return f"did you mean {shortened!r}?" if shortened else did_you_mean(name, kind_names()) or _ALL_KINDS
