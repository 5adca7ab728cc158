"""What a commit of the running server survives, out of its settings."""

from __future__ import annotations

from collections.abc import Mapping

from tasuki.contracts.driver import Durability

SETTINGS = ("fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names")
VALUES = "concat_ws(chr(10), " + ", ".join(f"current_setting('{name}')" for name in SETTINGS) + ")"
"""One column for a statement, so that its answer says what its own commit survives."""


class Level:
    """What commits survive, as the server last said: with a connection, a publish, or a sign of life.

    ``synchronous_commit``: what the connections are set to; None: they are left as the server has them.
    """

    def __init__(self, synchronous_commit: str | None = None) -> None:
        self._own = {} if synchronous_commit is None else {"synchronous_commit": synchronous_commit}
        self._values = ""
        self.durability: Durability | None = None

    def learn(self, values: str) -> None:
        """Take over what ``VALUES`` gave."""
        if values != self._values:
            self._values = values
            self.durability = durability_of(self._settings())

    def with_commit(self, synchronous_commit: str) -> Durability | None:
        """The level of a commit that has a ``synchronous_commit`` of its own."""
        return durability_of({**self._settings(), "synchronous_commit": synchronous_commit}) if self._values else None

    def _settings(self) -> Mapping[str, str]:
        return {**dict(zip(SETTINGS, self._values.split("\n"), strict=True)), **self._own}


def durability_of(settings: Mapping[str, str]) -> Durability:
    """The level, from the values that ``current_setting`` gives for ``SETTINGS``."""
    if settings["synchronous_commit"] == "off":
        return "process"  # the server answers before it has written: its own end loses the last of it
    if settings["fsync"] == "off" or settings["full_page_writes"] == "off":
        return "broker"
    waits_for_standby = settings["synchronous_commit"] in {"on", "remote_apply"}
    return "node" if settings["synchronous_standby_names"].strip() and waits_for_standby else "power"
