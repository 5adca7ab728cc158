"""The document as a whole."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from tasuki.fields.kinds import DriverKind
from tasuki.kinds.asyncapi.bodies import Bodies
from tasuki.kinds.asyncapi.channels import channel_objects
from tasuki.kinds.asyncapi.messages import header_schema, message_objects
from tasuki.kinds.asyncapi.names import Names
from tasuki.kinds.asyncapi.operations import operation_objects
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.queue import QueueConfig

ASYNCAPI = "3.1.0"
NO_VERSION = "0.0.0"
"""The version of an application that states none."""


def asyncapi_of(project: Project, *, title: str | None = None, version: str | None = None) -> dict[str, Any]:
    """The AsyncAPI document of a checked project, as plain data that shares no part with another document.

    Handlers in Python are imported for their annotations; a log warning names each one that fails. No broker is asked.

    Args:
        project: every entry of it is known to be good.
        title: of the application; default: ``project.name`` of ``pyproject.toml`` in the project's folder, else the
            name of that folder.
        version: of the application; default: ``project.version`` there, else ``0.0.0``.
    """
    bodies = Bodies(project)
    drivers = [id for id, kind in project.kinds.items() if isinstance(kind, DriverKind)]
    names = Names(project, bodies, drivers)
    document = {
        "asyncapi": ASYNCAPI,
        "info": _info(project, title, version),
        "defaultContentType": "application/json",
        "servers": names.servers,
        "channels": channel_objects(project, bodies, names),
        "operations": operation_objects(project, bodies, names),
        "components": {
            "messages": message_objects(bodies, names, project.of(QueueConfig)),
            "schemas": {bodies.schemas.headers_key: header_schema(), **bodies.schemas.components},
        },
    }
    plain: dict[str, Any] = json.loads(json.dumps(document))
    return plain


def _info(project: Project, title: str | None, version: str | None) -> dict[str, str]:
    stated = _stated(project)
    folder = project.registry.root.resolve().name
    return {
        "title": title or str(stated.get("name") or folder or "app"),
        "version": version or str(stated.get("version") or NO_VERSION),
    }


def _stated(project: Project) -> dict[str, Any]:
    """``[project]`` of the ``pyproject.toml`` in the project's folder; nothing if there is none that can be read."""
    try:
        table = tomllib.loads((project.registry.root / "pyproject.toml").read_text("utf-8")).get("project", {})
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}
