"""``env.variable`` and ``env.storage.*``: named settings that handlers and placeholders read."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr, WithJsonSchema

from tasuki.fields.types import Config, Flag, Id, Kind, Text
from tasuki.kinds.entries.lifecycle import REFERENCES, LifecycleConfig
from tasuki.system.replacing import OWNER_ONLY

_MODE = re.compile(r"0o?([0-7]{1,4})")


def _text(value: object) -> object:
    """A whole number or a boolean as it was written; a fraction is refused, because 1.10 would become 1.1."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value


def _mode(value: object) -> int:
    match = _MODE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a file mode; write it like 0600")
    return int(match[1], 8)


Mode = Annotated[int, BeforeValidator(_mode), WithJsonSchema({"type": ["string", "integer"]})]


class EnvVariableConfig(Config):
    """A named setting."""

    variable: Text | None = None
    """Its public name, and its key in the storage; without one it is known by its id only."""
    default: Annotated[str, BeforeValidator(_text)] | None = None
    """Its value when the storage has none."""
    storage: Id | None = None
    """Where its value is; the process environment if not given."""
    readonly: Flag = False
    """Handlers cannot set it."""
    read_only: Flag = False
    """The same: Wippy's pages write both."""

    @property
    def is_read_only(self) -> bool:
        """Whether handlers cannot set it."""
        return self.readonly or self.read_only


class EnvMemoryConfig(Config):
    """Settings in memory."""

    lifecycle: LifecycleConfig = LifecycleConfig()
    """When it starts and stops."""


class EnvOsConfig(EnvMemoryConfig):
    """The environment of the process; cannot be set."""


class EnvStaticConfig(EnvMemoryConfig):
    """Settings in the entry itself; read-only."""

    values: dict[str, Annotated[SecretStr, BeforeValidator(_text, json_schema_input_type=str)]] = Field(repr=False)
    """The settings: name to text. No error shows a value."""


class EnvRouterConfig(EnvMemoryConfig):
    """Several storages in a row."""

    storages: Annotated[list[Id], Field(min_length=1)]
    """The storages that are read, in this order; the first one is written to."""


class EnvFileConfig(EnvMemoryConfig):
    """Settings in a file of lines KEY=VALUE."""

    file_path: Text
    """The file; a relative path starts at the project's folder."""
    auto_create: Flag = False
    """Make the file if it is missing."""
    file_mode: Mode = OWNER_ONLY
    """Permissions of a file that is made."""
    dir_mode: Mode = 0o755
    """Permissions of a folder that is made."""


KINDS = (
    Kind("env.variable", EnvVariableConfig, {"storage": ("env.storage",)}),
    Kind("env.storage.memory", EnvMemoryConfig, REFERENCES),
    Kind("env.storage.os", EnvOsConfig, REFERENCES),
    Kind("env.storage.static", EnvStaticConfig, REFERENCES),
    Kind("env.storage.router", EnvRouterConfig, {**REFERENCES, "storages.*": ("env.storage",)}),
    Kind("env.storage.file", EnvFileConfig, REFERENCES),
)
