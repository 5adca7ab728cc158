"""Fields that name a variable: ``region_env: NAME`` is Wippy's older way to write ``region: ${env:NAME}``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tasuki.registry.entry import KeyPath, value_at, with_value
from tasuki.registry.shown import shown
from tasuki.registry.yaml.placeholders import Variables
from tasuki.scalars import Substituted

_AWS: tuple[KeyPath, ...] = (("region",), ("access_key_id",), ("secret_access_key",))
_TLS: tuple[KeyPath, ...] = (("tls", "cert"), ("tls", "key"), ("tls", "ca"))


def filled(
    kind: str,
    namespace: str,
    data: Mapping[str, Any],
    variables: Variables,
    report: Callable[[KeyPath, str, str], None],
) -> Mapping[str, Any]:
    """The fields of an entry, with the value of each variable in the place of the field that names it.

    A variable without a value leaves the plain field as it is, given or not. One that is neither declared nor in the
    process environment is reported (path, problem, hint), unless the plain field is given.
    """
    fields = _AWS if kind == "config.aws" else _TLS if kind.startswith("queue.driver.") else ()
    for path in fields:
        origin = (*path[:-1], f"{path[-1]}_env")
        name = value_at(data, origin)
        if not isinstance(name, str) or not name:
            continue  # the model of the entry reports any other value
        try:
            value = variables.lookup(name, namespace)
        except ValueError as error:
            report(origin, str(error), "")
            continue
        if value is not None:
            data = with_value(data, path, Substituted(value))
        elif value_at(data, path) is None and not variables.is_declared(name, namespace):
            report(origin, f"the variable {shown(name, name)} is not set", f"set the variable, or give {path[-1]}")
    return data
