"""Providers: checks that the needs of each provider are met when it is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tasuki.errors import ConfigError, HandlerError
from tasuki.fields.types import Config
from tasuki.handlers.providing.order import circle_problem, circles, scope_problem
from tasuki.handlers.providing.provider import Provider, read_provider, type_of
from tasuki.handlers.providing.providers import same_problem
from tasuki.kinds.check.python.places import problem_at
from tasuki.kinds.entries.function import ProviderConfig
from tasuki.registry.registry import Registry


@dataclass
class Provided:
    """The types that the providers of a project provide, as far as their source shows."""

    types: set[Any] = field(default_factory=set)
    """Types of providers that have another mistake included."""
    known: dict[Any, Provider] = field(default_factory=dict)
    """Those without."""
    is_complete: bool = True
    """False: some are imported only when the project runs."""


def problems_of_providers(
    registry: Registry, configs: Mapping[str, Config], provided: Provided
) -> Iterator[ConfigError]:
    """Every problem of a provider that is declared in code; fills ``provided``."""
    functions: dict[str, Any] = {}
    for id, config in configs.items():
        target = registry.entries[id].target
        if isinstance(config, ProviderConfig) and target is None:
            provided.is_complete = False
        elif isinstance(config, ProviderConfig):
            try:
                provided.types.add(type_of(target))
                functions[id] = target
            except HandlerError as error:
                yield problem_at(registry.entries[id], target, str(error))
    for id, function in functions.items():
        config, entry = configs[id], registry.entries[id]
        assert isinstance(config, ProviderConfig)
        try:
            provider = read_provider(id, function, config.scope, provided.types)
        except HandlerError as error:
            if provided.is_complete:
                yield problem_at(entry, function, str(error))
            continue
        if (other := provided.known.setdefault(provider.type_, provider)) is not provider:
            yield problem_at(entry, function, same_problem(provider, other))
    yield from _of_needs(registry, functions, provided)


def _of_needs(registry: Registry, functions: Mapping[str, Any], provided: Provided) -> Iterator[ConfigError]:
    for circle in circles(provided.known):
        id = circle[0].id
        yield problem_at(registry.entries[id], functions[id], circle_problem(circle))
    for provider in provided.known.values():
        for type_ in provider.needed:
            inner = provided.known.get(type_)
            if inner is not None and (problem := scope_problem(provider, inner)):
                yield problem_at(registry.entries[provider.id], functions[provider.id], problem)
