"""``function.lua``, ``function.python`` and ``library.lua``: the code that handles messages."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, WithJsonSchema, model_validator
from pydantic_core.core_schema import ValidationInfo

from tasuki.contracts.observer import MomentName
from tasuki.contracts.recycling import Limits
from tasuki.fields.types import (
    Config,
    Id,
    Kind,
    Positive,
    PositiveDuration,
    PositiveSize,
    Text,
    at_field,
)
from tasuki.registry.entry import did_you_mean
from tasuki.registry.loader import Source

_STANDARD_MODULES = frozenset({"channel", "coroutine", "errors", "math", "os", "payload", "string", "table", "utf8"})
"""Always there, listed or not."""

Isolation = Literal["shared", "process"]
SourceText = Annotated[
    InstanceOf[Source],
    BeforeValidator(lambda value: Source(value) if isinstance(value, str) else value),
    WithJsonSchema({"type": "string"}),
]
"""A script: inline text, ``file://x`` (from the YAML file's folder) or ``file:///x`` (from the source root)."""
MOST_PROCESSES = 8
"""Processes of a function that does not say how many."""


@cache
def _module_names() -> list[str]:
    from tasuki.handlers.lua.modules import MODULES

    return sorted(MODULES.keys() | _STANDARD_MODULES)


@cache
def optional_modules() -> frozenset[str]:
    """The modules of scripts that an entry must list."""
    return frozenset(_module_names()) - _STANDARD_MODULES


def _module(value: str) -> str:
    if value not in _module_names():
        hint = did_you_mean(value, _module_names()) or f"known are: {', '.join(_module_names())}"
        raise ValueError(f"there is no module {value!r} in this version; {hint}")
    return value


def _import_path(value: str) -> str:
    module, _, name = value.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise ValueError(f"{value!r} is not something to import; write it like package.module:function")
    return value


class Pool(Config):
    """The threads or processes of a function."""

    workers: Annotated[Positive, Field(le=256)]
    """Threads (isolation: shared) or processes (isolation: process) that run it side by side."""
    max_messages: Positive | None = None
    """Messages and calls after which a process is replaced; with isolation: process."""
    max_memory: PositiveSize | None = None
    """Memory from which on a process is replaced when it has ended its work; with isolation: process."""
    max_age: PositiveDuration | None = None
    """Age at which a process is replaced, up to a tenth earlier; with isolation: process."""

    @property
    def limits(self) -> Limits:
        """When its processes end in order."""
        return Limits(self.max_messages, self.max_memory, self.max_age)


class LuaLimits(Config):
    """Limits of one run of a Lua function."""

    memory: PositiveSize = 64 * 2**20
    """Largest memory of the script."""
    time: PositiveDuration = 1.0
    """Longest time that it may compute; waiting does not count."""
    instructions: Positive | None = None
    """Most instructions; not given: no limit."""


class PythonLimits(Config):
    """Limits of a Python function in its own process."""

    memory: PositiveSize | None = None
    """Most memory of its process, besides Python's own; not given: no limit."""
    time: PositiveDuration | None = None
    """Longest time of one run, waiting included; then its process is killed. Not given: handler_timeout alone."""


class LuaLibraryConfig(Config):
    """Lua code that functions and other libraries import."""

    source: SourceText
    """The script: file://x.lua, or the text itself."""
    modules: list[Annotated[str, AfterValidator(_module)]] = Field(default_factory=list)
    """Modules that it may require."""
    imports: dict[str, Id] = Field(default_factory=dict)
    """Libraries that it may require, by the name it requires them with."""


class LuaFunctionConfig(LuaLibraryConfig):
    """A function in Lua."""

    method: Text | None = None
    """The function's name in the table that the script returns."""
    limits: LuaLimits = LuaLimits()
    """Limits of one run."""
    isolation: Isolation = "shared"
    """shared: in the worker's process; process: in their own processes, for scripts of strangers."""
    pool: Pool | None = None
    """Number of threads or processes that run it; default: the worker's own thread, and one beside it when a step has
    computed for more than 20 ms; or up to 8 processes, as needed."""

    @model_validator(mode="after")
    def _threads_are_not_replaced(self) -> LuaFunctionConfig:
        if self.isolation == "shared" and self.pool is not None and self.pool.limits:
            raise at_field("pool", "max_messages, max_memory and max_age of a pool need isolation: process")
        return self


class PythonCodeConfig(Config):
    """Where a Python function is: a method of a source file, a target to import, or an object declared in code."""

    source: SourceText | None = None
    """The file that holds it: file://tasks.py."""
    method: Text | None = None
    """The function's name in the source."""
    target: Annotated[str, AfterValidator(_import_path)] | None = None
    """What to import: package.module:function."""

    @model_validator(mode="after")
    def _names_one_function(self, info: ValidationInfo) -> PythonCodeConfig:
        declared = (info.context or {}).get("target") is not None
        if declared + (self.source is not None) + (self.target is not None) != 1:
            problem = "a Python function has either a source with a method, or a target: package.module:function"
            raise at_field("source" if self.source else "target", problem)
        if self.source is not None and self.source.file is None:
            raise at_field("source", "the source of a Python function is a file; write it like file://tasks.py")
        if self.source is not None and self.method is None:
            raise at_field("source", "the source needs a method: the name of the function in it")
        if self.source is None and self.method is not None:
            raise at_field("method", "a method needs a source; a target names its function itself")
        return self


class MiddlewareConfig(PythonCodeConfig):
    """An async Python function around the handler of consumers, or around the publish of queues."""


class ProviderConfig(PythonCodeConfig):
    """A Python function that makes what other Python functions are given for parameters of its type."""

    scope: Literal["process", "message"] = "process"
    """How long an object is used: made once for each worker process, or for each message, and closed after it."""


class HookConfig(PythonCodeConfig):
    """A Python function that is called at one moment of a worker or of its messages, beside their handling."""

    moment: MomentName
    """start, stop: of a worker process; publish, begin, done, failed, give_up, discard: of a message."""
    queue: Id | None = None
    """Only of messages of this queue."""
    task: Text | None = None
    """Only of messages of tasks of this name."""

    @model_validator(mode="after")
    def _is_of_messages_if_it_chooses(self) -> HookConfig:
        for field in ("queue", "task"):
            if self.moment in ("start", "stop") and getattr(self, field) is not None:
                raise at_field(
                    field, f"{self.moment} is a moment of a worker process, not of a message; remove {field}"
                )
        return self


class PythonFunctionConfig(PythonCodeConfig):
    """A function in Python: a method of a source file, a target to import, or an object declared in code."""

    isolation: Isolation = "shared"
    """shared: in the worker's process; process: in their own processes, whose faults stay theirs."""
    limits: PythonLimits | None = None
    """What one run may use; with isolation: process."""
    pool: Pool | None = None
    """How many processes run it; not given: up to 8, as needed. With isolation: process."""

    @model_validator(mode="after")
    def _is_isolated_where_it_must(self, info: ValidationInfo) -> PythonFunctionConfig:
        if self.isolation == "shared":
            if self.limits is not None:
                raise at_field("limits", "limits of Python code need isolation: process")
            if self.pool is not None:
                raise at_field("pool", "a pool of Python code needs isolation: process")
        elif (info.context or {}).get("target") is not None:
            problem = "process needs a function that another process can import: give its target or its source"
            raise at_field("isolation", problem)
        return self


_IMPORTS = {"imports.*": ("library.lua", "function.lua")}

KINDS = (
    Kind("function.lua", LuaFunctionConfig, _IMPORTS),
    Kind("function.python", PythonFunctionConfig),
    Kind("library.lua", LuaLibraryConfig, _IMPORTS),
    Kind("middleware.python", MiddlewareConfig),
    Kind("provider.python", ProviderConfig),
    Kind("hook.python", HookConfig, {"queue": ("queue.queue",)}),
)
