"""Batches: checks that the functions of consumers with ``batch`` take one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasuki.fields.types import Config
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.function import PythonFunctionConfig
from tasuki.registry.entry import KeyPath

Finding = tuple[str, KeyPath, str, str]
"""Entry, place in it, problem and remedy."""


def problems_of_batches(configs: Mapping[str, Config]) -> Iterator[Finding]:
    """Every function that a consumer with ``batch`` cannot call as it is isolated."""
    for id, config in configs.items():
        if not isinstance(config, ConsumerConfig) or config.batch is None or config.func is None:
            continue
        function = configs.get(config.func)
        if isinstance(function, PythonFunctionConfig) and function.isolation == "process":
            problem = f"function {config.func!r} has isolation: process, and takes messages one by one"
            yield id, ("batch",), problem, "remove isolation from the function, or batch here"
