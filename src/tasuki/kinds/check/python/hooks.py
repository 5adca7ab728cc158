"""Hooks: checks that each takes its moment, and that its task exists."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tasuki.errors import ConfigError
from tasuki.fields.types import Config
from tasuki.handlers.signature import describe, is_generator
from tasuki.kinds.check.python.places import problem_at
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.function import HookConfig
from tasuki.registry.references import did_you_mean
from tasuki.registry.registry import Registry


def problems_of_hooks(registry: Registry, configs: Mapping[str, Config]) -> Iterator[ConfigError]:
    """Every problem of a hook."""
    tasks = {name for config in configs.values() if isinstance(config, ConsumerConfig) for name in config.funcs}
    for id, config in configs.items():
        if not isinstance(config, HookConfig):
            continue
        entry = registry.entries[id]
        if entry.target is not None and (problem := _of_function(entry.target)):
            yield problem_at(entry, entry.target, problem)
        # A process that only publishes knows no tasks.
        if config.task is not None and tasks and config.task not in tasks and config.moment != "publish":
            hint = did_you_mean(config.task, tasks) or f"there are: {', '.join(sorted(tasks))}"
            yield entry.error(f"it is for task {config.task!r}, which no consumer has", ("task",), hint)


def _of_function(function: Any) -> str:
    if not callable(function):
        return f"{function!r} is no function; decorate a function"
    if is_generator(function):
        return f"{describe(function)} is a generator, which a hook does not run; use await instead of yield"
    try:
        takes_moment(function)
    except TypeError as error:
        return f"{describe(function)} cannot be called as a hook; {error}"
    return ""


def takes_moment(function: Callable[..., Any]) -> bool:
    """Whether a hook is called with the moment. Raises TypeError: it takes more than that."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # a function in C without a signature
        return True
    for args in ((None,), ()):
        try:
            signature.bind(*args)
        except TypeError:
            continue
        return bool(args)
    raise TypeError("a hook takes the moment as its only argument, or nothing")
