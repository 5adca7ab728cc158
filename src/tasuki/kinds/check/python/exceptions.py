"""Exceptions: names in retry rules that no exception has."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from tasuki.fields.types import Config
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.lifecycle import RetryConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.registry.entry import KeyPath
from tasuki.registry.references import did_you_mean

KINDS = (
    "NotFound", "AlreadyExists", "Invalid", "PermissionDenied", "Unavailable", "Internal", "Canceled", "Conflict",
    "Timeout", "RateLimited",
)  # fmt: skip
_NEAR = 0.8

Finding = tuple[str, KeyPath, str, str]
"""Entry, place in it, problem and remedy."""


def unknown_exceptions(configs: Mapping[str, Config]) -> Iterator[Finding]:
    """Each name that is nearly one of a known exception, or names a module that has no such exception.

    Any other name may be one that is imported later.
    """
    for id, config in configs.items():
        for path, retry in _retries(config):
            for field in ("never", "on"):
                for name in getattr(retry, field):
                    if hint := _unknown(name):
                        problem = f"retry.{field} names {name!r}, which is no exception and no kind of error"
                        yield id, (*path, field), problem, hint


def _retries(config: Config) -> Iterator[tuple[KeyPath, RetryConfig]]:
    if isinstance(config, QueueConfig | ConsumerConfig) and config.retry is not None:
        yield ("retry",), config.retry
    if isinstance(config, ConsumerConfig):
        for name, task in config.funcs.items():
            if task.retry is not None:
                yield ("funcs", name, "retry"), task.retry


def _unknown(name: str) -> str:
    """The remedy for a name that no exception has; empty: it may have one."""
    module, _, last = name.rpartition(".")
    if module:
        loaded = sys.modules.get(module)
        if loaded is not None:
            members = [key for key, value in vars(loaded).items() if _is_exception(value)]
            return "" if _is_exception(getattr(loaded, last, None)) else did_you_mean(last, members) or _hint(module)
        return (
            "" if _has_package(module.partition(".")[0]) or module.partition(".")[0] in sys.modules else _hint(module)
        )
    known = {key for key, value in vars(builtins).items() if _is_exception(value)} | set(KINDS) | _loaded()
    return "" if name in known else did_you_mean(name, sorted(known), cutoff=_NEAR)


def _hint(module: str) -> str:
    return f"name an exception class of module {module!r}, or the class alone"


def _has_package(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _is_exception(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def _loaded() -> set[str]:
    """The names of all exception classes of this process."""
    todo, seen = [BaseException], {BaseException}
    while todo:
        new = set(type.__subclasses__(todo.pop())) - seen
        seen |= new
        todo += new
    return {each.__name__ for each in seen}
