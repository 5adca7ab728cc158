"""The texts a runtime is made of: the script of a function and the libraries it imports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LuaSource:
    """Lua text; ``chunk_name`` is what errors show as its file, such as ``task_handler.lua``."""

    text: str
    chunk_name: str


@dataclass(frozen=True, slots=True)
class LuaLibrary:
    """A ``library.lua`` entry: run once per runtime; what its chunk returns is what ``require(alias)`` gives."""

    id: str
    source: LuaSource
    modules: Sequence[str] = ()
    imports: Mapping[str, LuaLibrary] = field(default_factory=dict)
