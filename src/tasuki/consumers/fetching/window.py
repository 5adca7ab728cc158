"""Window: how many deliveries a consumer may hold, and so how many to ask for now."""

from __future__ import annotations


class Window:
    """``prefetch`` bounds what is held: buffered, running, and not yet settled at the broker.

    Up to as many more may be ``kept``, because their dead letter or reply cannot be published yet: a dead-letter queue
    that is full or away does not stop the other messages at once.
    """

    __slots__ = ("held", "kept", "prefetch")

    def __init__(self, prefetch: int) -> None:
        self.prefetch = prefetch
        self.held = 0
        self.kept = 0

    def wanted(self, buffered: int) -> int:
        """How many to ask for, 0 for none yet.

        While the buffer keeps the workers busy a quarter of the window is asked for at once, not message by message;
        with an empty buffer any room is used.
        """
        room = self.prefetch - self.held + min(self.kept, self.prefetch)
        return room if room > 0 and (buffered == 0 or room * 4 >= self.prefetch) else 0
