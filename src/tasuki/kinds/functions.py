"""The Python functions of entries that are called beside handlers: middleware, providers and hooks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from tasuki.errors import HandlerError
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.function import MiddlewareConfig, ProviderConfig, PythonCodeConfig

if TYPE_CHECKING:
    from tasuki.handlers.providing.providers import Providers


def load_middleware(project: Project, id: str) -> Callable[..., Any]:
    """The function of a middleware entry.

    Raises:
        HandlerNotFoundError: there is no such function.
        HandlerError: its module fails while it is imported, or it is no async function.
    """
    from tasuki.handlers.signature import is_async

    config = project.configs[id]
    assert isinstance(config, MiddlewareConfig)
    function = load_function(project, id)
    if not is_async(function):
        raise HandlerError(f"middleware {id!r} is not an async function: write it with 'async def'", kind="Invalid")
    return function  # type: ignore[no-any-return]


def load_function(project: Project, id: str) -> Any:
    """The object that an entry of Python code names.

    Raises:
        HandlerNotFoundError: there is no such object.
        HandlerError: its module fails while it is imported.
    """
    from tasuki.handlers.load import load_path, load_source

    config = project.configs[id]
    assert isinstance(config, PythonCodeConfig)
    function = project.registry.entries[id].target
    if function is None and config.target is not None:
        return load_path(config.target)
    if function is None and config.source is not None:
        assert config.source.file is not None, "its check refuses this"
        assert config.method is not None, "its check refuses this"
        return load_source(config.source.file, config.method)
    return function


def build_providers(project: Project) -> Providers | None:
    """All that the project provides, not yet imported; None: nothing."""
    configs = project.of(ProviderConfig)
    if not configs:
        return None
    from tasuki.handlers.providing.providers import Declared, Providers

    return Providers(
        [Declared(id, config.scope, partial(_load_provider, project, id)) for id, config in configs.items()]
    )


def _load_provider(project: Project, id: str) -> Callable[..., Any]:
    function = load_function(project, id)
    if not callable(function):
        raise HandlerError(f"provider {id!r} is not a function", kind="Invalid")
    return function  # type: ignore[no-any-return]
