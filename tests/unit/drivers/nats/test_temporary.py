"""Temporary queues at NATS: when signs are given, and when it is looked; without a server."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

import pytest

from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.names import Names
from tasuki.drivers.nats.records.temporary import KEPT, ROUNDS, Temporary
from tasuki.errors import BrokerUnavailableError

pytestmark = pytest.mark.anyio

NO_CONNECTION = cast(Connection, None)


class Recording(Temporary):
    """Notes what it would do; the first sign fails if ``fails``."""

    def __init__(self, *, fails: bool) -> None:
        super().__init__(Names("tasuki"))
        self.done: list[str] = []
        self._fails = fails

    async def keep(self, connection: Connection, queues: Collection[str]) -> None:
        if self._fails:
            self._fails = False
            raise BrokerUnavailableError("the book is not there yet", driver="nats")
        self.done.append("keep")

    async def _unused(self, connection: Connection) -> dict[str, int]:
        self.done.append("look")
        return {}


async def test_a_sign_that_failed_is_given_with_the_next_beat() -> None:
    """Before the next check of others it may be too late: the server had been away for long."""
    temporary = Recording(fails=True)
    with pytest.raises(BrokerUnavailableError):
        await temporary.beat(NO_CONNECTION, ["q"])
    await temporary.beat(NO_CONNECTION, ["q"])
    assert temporary.done == ["keep", "look"]
    await temporary.beat(NO_CONNECTION, ["q"])
    assert temporary.done == ["keep", "look"], "not again so soon"


async def test_between_two_looks_of_another_there_is_a_sign() -> None:
    """Whatever the phases are: a sign is due again in much less time than a check."""
    temporary = Recording(fails=False)
    await temporary.beat(NO_CONNECTION, ["q"])
    temporary._kept_at -= KEPT / ROUNDS / 2
    temporary._checked_at -= KEPT / ROUNDS / 2
    await temporary.beat(NO_CONNECTION, ["q"])
    assert temporary.done == ["keep", "look", "keep"]
