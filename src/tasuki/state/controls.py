"""Controls: what operators and handlers have ordered, by key, as this process last read it; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

from tasuki.contracts.state.store import Change

CONTROL = "control/"
"""Prefix of the keys that every worker watches: keep them few, small and short-lived."""

_GONE = 1_000
"""Deleted keys of which the version is known: more than a watch reports late."""

Listener = Callable[[str, bytes | None], None]
"""Gets a key, without ``CONTROL``, and its new value; None: it is gone. Runs in the loop of the watch."""


class Controls:
    """The values under ``CONTROL``. Keys are given without that prefix."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._versions: dict[str, int] = {}
        self._gone: dict[str, int] = {}
        """The versions of the last deleted keys, the oldest first."""
        self._listeners: dict[str, list[Listener]] = {}

    def get(self, key: str) -> bytes | None:
        """The value of a key; None: there is none."""
        return self._values.get(key)

    def under(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """All keys of a prefix with their values."""
        return ((key, value) for key, value in list(self._values.items()) if key.startswith(prefix))

    def listen(self, prefix: str, listener: Listener) -> Callable[[], None]:
        """Call the listener for each later change of a key of this prefix. Returns what ends that."""
        listeners = self._listeners.setdefault(prefix, [])
        listeners.append(listener)
        return lambda: listeners.remove(listener)

    def apply(self, change: Change) -> None:
        """Take note of a change of the store; nothing happens if a later one is known.

        Who changes a control in this process applies it at once, and the watch reports it again.
        """
        key = change.key.removeprefix(CONTROL)
        if change.version < self._versions.get(key, self._gone.get(key, 0)):
            return
        self._gone.pop(key, None)
        if change.value is not None:
            self._versions[key] = change.version
        else:  # it has the version of the last put, which may still be reported after it
            self._versions.pop(key, None)
            self._gone[key] = change.version + 1
            if len(self._gone) > _GONE:
                del self._gone[next(iter(self._gone))]
        self._set(key, change.value)

    def forget_others(self, keys: Container[str]) -> None:
        """These are all keys of the store; others have gone while there was no watch."""
        self._versions = {key: version for key, version in self._versions.items() if CONTROL + key in keys}
        self._gone = {key: version for key, version in self._gone.items() if CONTROL + key in keys}
        for key in [key for key in self._values if CONTROL + key not in keys]:
            self._set(key, None)

    def _set(self, key: str, value: bytes | None) -> None:
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value
        for prefix, listeners in list(self._listeners.items()):
            if key.startswith(prefix):
                for listener in list(listeners):
                    listener(key, value)
