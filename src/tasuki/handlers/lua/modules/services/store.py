"""store: key-value stores over the context's resources. See store.lua for the functions of scripts.

=================  =======================  ======================================================
operation          arguments                returns
=================  =======================  ======================================================
``store.open``     store id                 True; Invalid when the entry is no store
``store.get``      store id, key            value; NotFound
``store.set``      store id, key, value,    True; Unavailable when full
                   ttl?
``store.has``      store id, key            boolean
``store.delete``   store id, key            whether it was there
``store.entry``    store id, key            key, value, version; NotFound
``store.list``     store id, options?       items, cursor, has_more
``store.put``      store id, key, value,    key, value, version; AlreadyExists, Conflict, NotFound
                   options?
``store.info``     store id                 what the store can do
=================  =======================  ======================================================

A store is any object with these methods; they may be plain or ``async``. What the actor may not do is PermissionDenied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasuki.contracts.handler import Context
from tasuki.contracts.state.store_handle import checked_store
from tasuki.handlers.lua.modules.services.security import permission_denied

NAME = "store"


def _store(context: Context, id: str) -> Any:
    return checked_store(context.project.resource(id), id)


def open_store(context: Context, id: str) -> bool:
    """Check that the resource is a store."""
    _store(context, id)
    return True


def _verb(name: str) -> Callable[..., Any]:
    def operation(context: Context, id: str, *args: Any) -> Any:
        return getattr(_store(context, id), name)(*args)

    return operation


def set_value(context: Context, id: str, key: str, value: Any, ttl: float | None = None) -> Any:
    """Store a value; a ttl of zero or less never ends."""
    return _store(context, id).set(key, value, ttl=ttl)


def _chosen(options: Any, *names: str) -> dict[str, Any]:
    return {name: options[name] for name in names if options and options.get(name) is not None}


def put(context: Context, id: str, key: str, value: Any, options: Any = None) -> Any:
    """Store a value under conditions."""
    return _store(context, id).put(key, value, **_chosen(options, "ttl", "only_if_absent", "if_version"))


def list_entries(context: Context, id: str, options: Any = None) -> Any:
    """Entries in the order of their keys."""
    return _store(context, id).list(**_chosen(options, "prefix", "after", "limit"))


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "open": open_store,
    "set": set_value,
    "put": put,
    "list": list_entries,
    **{name: _verb(name) for name in ("get", "has", "delete", "entry", "info")},
}
OPERATIONS = {f"store.{name}": permission_denied(operation) for name, operation in _OPERATIONS.items()}
