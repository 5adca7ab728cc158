"""News: what a script publishes of one key, and what a watch makes of it; no I/O."""

from __future__ import annotations

from typing import NamedTuple

from tasuki.contracts.state.store import Change


class News(NamedTuple):
    """A change of one key."""

    key: str
    version: int
    value: bytes | None
    """None: the key is gone, or its value is too long to be published."""
    is_gone: bool
    left: float | None
    """Seconds until it expires; None: it does not."""

    @property
    def change(self) -> Change | None:
        """What a reader gets; None: the value has to be read first."""
        return Change(self.key, self.value, self.version) if self.is_gone or self.value is not None else None


def read_news(content: bytes) -> News:
    """Read a line with kind, version, microseconds left and size of the key, then the key and the value.

    Raises ValueError.
    """
    head, _, rest = content.partition(b"\n")
    kind, version, left, size = head.split(b" ")
    key, value = rest[: int(size)], rest[int(size) :]
    return News(key.decode(), int(version), value if kind == b"=" else None, kind == b"-", seconds_left(int(left)))


def seconds_left(microseconds: int) -> float | None:
    """As scripts answer it: -1 for a key that does not expire."""
    return None if microseconds < 0 else microseconds / 1e6
