"""Settings: what ``env.variable`` entries say to handlers, by public name or entry id."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tasuki.kinds.env import EnvFileConfig, EnvMemoryConfig, EnvOsConfig, EnvVariableConfig
from tasuki.kinds.project import Project
from tasuki.registry.entry import resolve_id


class Settings:
    """Reads declared variables; a stored empty text counts as unset, then the default holds."""

    def __init__(self, project: Project, environ: Mapping[str, str] | None = None) -> None:
        self._project = project
        self._environ = os.environ if environ is None else environ
        self._variables = project.of(EnvVariableConfig)
        self._public = {config.variable: id for id, config in self._variables.items() if config.variable}

    def get(self, name: str, namespace: str) -> str | None:
        """The value of a variable's public name, or of its entry id (a bare one is of ``namespace``); or None."""
        id = self._public.get(name) or resolve_id(name, namespace)
        config = self._variables.get(id)
        if config is None:
            return None
        key = config.variable or id.partition(":")[2]
        return self._stored(config.storage, key) or config.default or None

    def _stored(self, storage: str | None, key: str) -> str | None:
        config = self._project.configs[storage] if storage else EnvOsConfig()
        if isinstance(config, EnvFileConfig):
            return _read(self._project.registry.root / config.file_path).get(key)
        if isinstance(config, EnvOsConfig):
            return self._environ.get(key)
        assert isinstance(config, EnvMemoryConfig)  # nothing can be set in this version: only defaults
        return None


def _read(path: Path) -> dict[str, str]:
    """The lines ``KEY=VALUE`` of a file; none if it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
