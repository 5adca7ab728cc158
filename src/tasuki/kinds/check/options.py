"""Driver options of queues and consumers: merged for the driver in use, and checked for all the others too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ValidationError

from tasuki.errors import ConfigError
from tasuki.fields.kinds import DriverKind
from tasuki.kinds.kind import find_driver
from tasuki.kinds.problems import problems_of
from tasuki.registry.entry import Entry, KeyPath
from tasuki.registry.shown import describe

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
        return {}, [*problems_of(error, entry, model, place=place, what=what)]
