"""Controls: the orders of operators and handlers by key, as this process last read them; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager

from tasuki.contracts.state.store import Change

CONTROL = "control/"
"""Prefix of the keys that every worker watches: keep them few, small and short-lived."""

MADE = CONTROL + "made"
"""A mark that the first order writes and no process removes: a store without it has lost its entries. It sorts before
the orders, so that a watch reports its loss first."""

Listener = Callable[[str, bytes | None], None]
"""Gets a key, without ``CONTROL``, and its new value; None: it is gone. Runs in the loop of the watch."""


class Controls:
    """The values under ``CONTROL``. Keys are given without that prefix."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._ours: dict[str, Change] = {}
        """Changes of this process that the watch has not reported yet."""
        self._under_way: dict[str, list[list[Change]]] = {}
        """What the watch has reported while this process was changing a key."""
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

    @contextmanager
    def changing(self, key: str) -> Iterator[list[Change]]:
        """For the time of the block this process changes a key; the value is what ``change`` has to know then."""
        reports: list[Change] = []
        self._under_way.setdefault(key, []).append(reports)
        try:
            yield reports
        finally:
            left = [each for each in self._under_way.pop(key) if each is not reports]
            if left:
                self._under_way[key] = left

    def change(self, change: Change, reports: Sequence[Change] = ()) -> None:
        """Take note of a change that this process has made, unless the watch has reported it or a later one."""
        if any(_rank(report) >= _rank(change) for report in reports):
            return
        key = change.key.removeprefix(CONTROL)
        self._ours[key] = change
        self._set(key, change.value)

    def apply(self, change: Change) -> None:
        """Take note of a change that the watch reports, unless it is older than one of this process.

        Its versions may fall: a store that has lost its last writes has what it had before (store clause 34).
        """
        key = change.key.removeprefix(CONTROL)
        for reports in self._under_way.get(key, ()):
            reports.append(change)
        if (ours := self._ours.get(key)) is not None:
            if _rank(change) < _rank(ours):
                return
            del self._ours[key]
        self._set(key, change.value)

    def forget_others(self, keys: Container[str]) -> None:
        """These are all keys of the store; others have gone while there was no watch."""
        self._ours = {key: change for key, change in self._ours.items() if CONTROL + key in keys}
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


def _rank(change: Change) -> tuple[int, bool]:
    """Which of two changes of a key is the later one. A deletion has the version of the last put."""
    return change.version, change.value is None
