"""OPTIONS of a TasukiBackend in the setting TASKS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from tasuki.registry.references import did_you_mean
from tasuki.units import parse_duration

DEFAULT = "default"
"""The queue for all names where QUEUES is empty, which allows any."""
NAME = "django.task"
"""The task of ours that runs all of Django's."""
_STEPS, _LOWEST, _VALUES = 10, -100, 201
"""Of priorities: ours, and Django's from -100 to 100."""
_TYPES = {"results": str | None, "transactional": bool, "priority": bool, "queues": Mapping, "workers": Mapping}
_NOUNS = {str | None: "the alias of a cache", bool: "True or False", Mapping: "a dict"}


@dataclass(frozen=True, slots=True)
class Options:
    """What a backend may be given.

    Args:
        max_attempts: runs of a task before it has FAILED; as in Django, one.
        results: alias of the cache that keeps the results; None: results cannot be read.
        result_ttl: how long they are kept (``7d`` is ``168h``; seconds, text or timedelta).
        transactional: let a message belong to Django's transaction; False: publish at once, as Django says.
        priority: let tasks have priorities; ``tasuki check`` then refuses a driver that has none.
        queues: name of a queue → the fields of its ``queue.queue``.
        workers: the fields of each queue's consumer, such as ``{"concurrency": 4}``.
    """

    max_attempts: int = 1
    results: str | None = None
    result_ttl: Any = "168h"
    transactional: bool = False
    priority: bool = False
    queues: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    workers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def result_seconds(self) -> float:
        """``result_ttl`` in seconds."""
        return parse_duration(self.result_ttl)


def read_options(alias: str, given: Mapping[str, Any], names: Iterable[str]) -> Options:
    """Check the OPTIONS of one alias, whose QUEUES are ``names`` (none: any name is allowed).

    Raises:
        ImproperlyConfigured: an unknown option, or a value that does not fit.
    """
    place, known = f"TASKS[{alias!r}]['OPTIONS']", [each.name for each in fields(Options)]
    for name in given:
        if name not in known:
            hint = did_you_mean(str(name), known) or f"there are: {', '.join(known)}"
            raise ImproperlyConfigured(f"{place} has no option {name!r}; {hint}")
    options = Options(**given)
    if type(options.max_attempts) is not int or options.max_attempts < 1:
        raise ImproperlyConfigured(f"{place}['max_attempts'] must be a number from 1 on, not {options.max_attempts!r}")
    try:
        options.result_seconds  # noqa: B018 - for its error
    except (ValueError, TypeError) as error:
        raise ImproperlyConfigured(f"{place}['result_ttl']: {error}") from error
    _refuse_types(place, options)
    for name in options.queues:
        if list(names) and name not in names:
            raise ImproperlyConfigured(f"{place}['queues'] names {name!r}, which QUEUES of {alias!r} does not have")
    return options


def _refuse_types(place: str, options: Options) -> None:
    """Raise ImproperlyConfigured for a value of another type."""
    for name, types in _TYPES.items():
        if not isinstance(value := getattr(options, name), types):
            raise ImproperlyConfigured(f"{place}[{name!r}] must be {_NOUNS[types]}, not {value!r}")
    for name, value in options.queues.items():
        if not isinstance(value, Mapping):
            raise ImproperlyConfigured(f"{place}['queues'][{name!r}] must be a dict of fields, not {value!r}")


def priority_of(value: int) -> int:
    """Django's priority (-100 to 100) as one of ours (0 to 9): order is kept, near values become the same."""
    return (value - _LOWEST) * _STEPS // _VALUES
