"""``function.lua``, ``function.python`` and ``library.lua``: the code that treats messages."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core.core_schema import ValidationInfo

from tasuki.kinds.fields import (
    Config,
    Id,
    Positive,
    PositiveDuration,
    PositiveSize,
    Refused,
    SourceText,
    Text,
    at_field,
    refused,
)
from tasuki.kinds.kind import Kind
from tasuki.registry.references import did_you_mean

_STANDARD_MODULES = frozenset({"channel", "coroutine", "errors", "math", "os", "payload", "string", "table", "utf8"})
"""Always there, listed or not."""

_POOL = refused("pools are not available in this version; the consumer's concurrency says how many run at a time")
_LIMITS = refused("for Python code they need isolation: process, which is not available in this version")


def _isolation(value: object) -> object:
    if value == "process":
        raise ValueError("'process' is not available in this version; leave it out")
    return value


Isolation = Annotated[Literal["shared"], BeforeValidator(_isolation)]
Pool = Annotated[Refused, BeforeValidator(_POOL)]


@cache
def _module_names() -> list[str]:
    from tasuki.handlers.lua.modules import MODULES

    return sorted(MODULES.keys() | _STANDARD_MODULES)


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


class LuaLimits(Config):
    """What one run of a Lua function may use."""

    memory: PositiveSize = 64 * 2**20
    """Largest memory of the script."""
    time: PositiveDuration = 30.0
    """Longest time that it may compute; waiting does not count."""
    instructions: Positive | None = None
    """Most instructions; not given: no limit."""


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
    """Which function of the table that the script returns."""
    limits: LuaLimits = LuaLimits()
    """What one run may use."""
    isolation: Isolation = "shared"
    """shared: in the worker's process."""
    pool: Pool = None


class PythonFunctionConfig(Config):
    """A function in Python: a method of a source file, a target to import, or an object declared in code."""

    source: SourceText | None = None
    """The file that holds it: file://tasks.py."""
    method: Text | None = None
    """Which function of the source."""
    target: Annotated[str, AfterValidator(_import_path)] | None = None
    """What to import: package.module:function."""
    isolation: Isolation = "shared"
    """shared: in the worker's process."""
    limits: Annotated[Refused, BeforeValidator(_LIMITS)] = None
    pool: Pool = None

    @model_validator(mode="after")
    def _names_one_function(self, info: ValidationInfo) -> PythonFunctionConfig:
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


_IMPORTS = {"imports.*": ("library.lua", "function.lua")}

KINDS = (
    Kind("function.lua", LuaFunctionConfig, _IMPORTS),
    Kind("function.python", PythonFunctionConfig),
    Kind("library.lua", LuaLibraryConfig, _IMPORTS),
)
