"""The object behind a store's entry, for Lua and Python handlers; on every backend the same.

================================  ======================================  ============================================
verb (all are async)              returns                                 errors (``HandlerError`` by kind)
================================  ======================================  ============================================
``get(key)``                      the value                               NotFound
``set(key, value, ttl=)``         True                                    Invalid value
``has(key)``                      whether it is there
``delete(key)``                   whether it was there
``entry(key)``                    key, value, version (a decimal text)    NotFound
``list(prefix=, after=, limit=)`` items by key, cursor, has_more          Invalid option
``put(key, value, ttl=, …)``      the new entry                           AlreadyExists, Conflict ↻, NotFound, Invalid
``info()``                        what the store can do
``take`` ``give`` ``hold``        as in the store contract                Invalid option
``release``
================================  ======================================  ============================================

An empty key and one that is too long are Invalid everywhere; a full store and an unavailable broker are Unavailable ↻.
"""

from tasuki.handlers.store.handler_store import HandlerStore

__all__ = ["HandlerStore"]
