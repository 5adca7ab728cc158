"""Settings: the values of ``env.variable`` entries for handlers, by public name or entry id."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tasuki.errors import HandlerError
from tasuki.ids import resolve_id
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries import settings_file
from tasuki.kinds.entries.env import (
    EnvFileConfig,
    EnvMemoryConfig,
    EnvOsConfig,
    EnvRouterConfig,
    EnvStaticConfig,
    EnvVariableConfig,
)


class Settings:
    """Reads and sets declared variables; a stored empty text counts as unset, then the default holds.

    Args:
        project: whose entries.
        environ: the environment of the process; default the real one.
        kept: the settings before a reload; values set in memory stay.
    """

    def __init__(
        self, project: Project, environ: Mapping[str, str] | None = None, *, kept: Settings | None = None
    ) -> None:
        self._project = project
        self._environ = os.environ if environ is None else environ
        self._variables = project.of(EnvVariableConfig)
        self._public = {config.variable: id for id, config in self._variables.items() if config.variable}
        self.memory: dict[str, dict[str, str]] = {
            id: kept.memory.get(id, {}) if kept else {}
            for id, config in project.of(EnvMemoryConfig).items()
            if type(config) is EnvMemoryConfig
        }

    def get(self, name: str, namespace: str) -> str | None:
        """The value of a variable's public name, or of its entry id (a bare one is of ``namespace``); or None.

        Raises:
            HandlerError: the file that it is stored in is not UTF-8 (Invalid), or cannot be read (Unavailable).
        """
        id = self._id(name, namespace)
        return None if id is None else self._value(id)

    def set(self, name: str, value: str, namespace: str) -> None:
        """Store a value.

        Raises:
            HandlerError: kind NotFound: not declared; PermissionDenied: the variable or its storage is read-only;
                Invalid: a text that a file cannot hold, or a file that is not UTF-8; Unavailable: the file cannot be
                written.
        """
        id = self._id(name, namespace)
        if id is None:
            raise HandlerError("environment variable not found", kind="NotFound", retryable=False)
        variable = self._variables[id]
        if variable.is_read_only:
            raise HandlerError("environment variable is read-only", kind="PermissionDenied", retryable=False)
        self._store(variable.storage, _key(id, variable), value)

    def names(self, name: str, namespace: str) -> tuple[str, ...]:
        """All names that a variable answers to; none: it is not declared."""
        id = self._id(name, namespace)
        return () if id is None else tuple(each for each in (self._variables[id].variable, id) if each)

    def all(self, namespace: str) -> dict[str, str]:
        """Every variable that has a value, by public name (or id), and what else memory, files and entries hold.

        Of the environment of the process, only declared variables: handlers need not see the others.
        """
        found = {}
        for id, config in self._project.of(EnvMemoryConfig).items():
            if isinstance(config, EnvFileConfig):
                found.update(settings_file.read(self._project.registry.root, config))
            elif isinstance(config, EnvStaticConfig):
                found.update({name: value.get_secret_value() for name, value in config.values.items()})
            found.update(self.memory.get(id, {}))
        found = {name: value for name, value in found.items() if name and value}
        for id, variable in self._variables.items():
            if value := self._value(id):
                found[variable.variable or id] = value
        return found

    def _id(self, name: str, namespace: str) -> str | None:
        id = self._public.get(name) or resolve_id(name, namespace)
        return id if id in self._variables else None

    def _value(self, id: str) -> str | None:
        config = self._variables[id]
        return self._stored(config.storage, _key(id, config)) or config.default or None

    def _storage(self, id: str | None) -> object:
        return self._project.configs[id] if id else EnvOsConfig()

    def _store(self, id: str | None, key: str, value: str) -> None:
        storage = self._storage(id)
        if isinstance(storage, EnvRouterConfig):
            self._store(storage.storages[0], key, value)
        elif isinstance(storage, EnvOsConfig | EnvStaticConfig):
            raise HandlerError("storage is read-only", kind="PermissionDenied", retryable=False)
        elif isinstance(storage, EnvFileConfig):
            settings_file.write(self._project.registry.root, storage, key, value)
        else:
            self.memory[str(id)][key] = value

    def _stored(self, id: str | None, key: str) -> str | None:
        storage = self._storage(id)
        if isinstance(storage, EnvRouterConfig):
            return next((value for each in storage.storages if (value := self._stored(each, key))), None)
        if isinstance(storage, EnvStaticConfig):
            held = storage.values.get(key)
            return None if held is None else held.get_secret_value()
        if isinstance(storage, EnvFileConfig):
            return settings_file.read(self._project.registry.root, storage).get(key)
        if isinstance(storage, EnvOsConfig):
            return self._environ.get(key)
        return self.memory[str(id)].get(key)


def _key(id: str, config: EnvVariableConfig) -> str:
    return config.variable or id.partition(":")[2]
