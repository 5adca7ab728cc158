"""GuardedStore: a store that checks the permission for each key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasuki.contracts.state.store_handle import is_store

if TYPE_CHECKING:
    from tasuki.security.guard import Guard


_VERBS = {
    "get": ("store.key.get", "not allowed to read key: {}"),
    "entry": ("store.key.get", "not allowed to read key: {}"),
    "set": ("store.key.set", "not allowed to write key: {}"),
    "put": ("store.key.set", "not allowed to write key: {}"),
    "has": ("store.key.has", "not allowed to check key existence: {}"),
    **dict.fromkeys(("take", "give", "hold", "release"), ("store.key.set", "not allowed to write key: {}")),
    "delete": ("store.key.delete", "not allowed to delete key: {}"),
}
"""Methods whose first argument is a key: the action to check, and the text of a denial."""


class GuardedStore:
    """Any store; other attributes than the methods of stores are passed through.

    The resource of every check is the store's id; conditions see the key as ``meta.key``, or ``meta.prefix``.
    """

    def __init__(self, store: Any, id: str, guard: Guard) -> None:
        self._store = store
        self._id = id
        self._guard = guard

    def __getattr__(self, name: str) -> Any:
        """The store's own attribute, checked at each call if it is a verb with a key."""
        found = getattr(self._store, name)
        if name not in _VERBS:
            return found
        action, problem = _VERBS[name]

        def checked(key: str, *args: Any, **options: Any) -> Any:
            self._guard.require(action, self._id, problem.format(key), {"key": key})
            return found(key, *args, **options)

        return checked

    def list(self, *args: Any, **options: Any) -> Any:
        """As the store's, if its prefix may be listed."""
        prefix = args[0] if args else options.get("prefix", "")
        self._guard.require("store.key.list", self._id, "not allowed to list keys", {"prefix": prefix})
        return self._store.list(*args, **options)

    def info(self) -> Any:
        """As the store's."""
        self._guard.require("store.info", self._id, f"not allowed to see store: {self._id}")
        return self._store.info()


def guarded(resource: Any, id: str, guard: Guard) -> Any:
    """The resource, behind the guard if it is a store."""
    return GuardedStore(resource, id, guard) if is_store(resource) else resource
