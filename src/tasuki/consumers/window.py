"""Window: how many deliveries a consumer may hold, and so how many to ask for now."""

from __future__ import annotations


class Window:
    """``prefetch`` bounds what is held: buffered, running, and not yet settled at the broker."""

    __slots__ = ("held", "prefetch")

    def __init__(self, prefetch: int) -> None:
        self.prefetch = prefetch
        self.held = 0

    def wanted(self, buffered: int) -> int:
        """How many to ask for, 0 for none yet.

        While the buffer keeps the workers busy a quarter of the window is asked for at once, not message by message;
        with an empty buffer any room is used.
        """
        room = self.prefetch - self.held
        return room if room > 0 and (buffered == 0 or room * 4 >= self.prefetch) else 0
