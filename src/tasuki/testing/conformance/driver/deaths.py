"""Clause 62: the messages of a dead process come back before their leases end; a silent process keeps its messages."""

from __future__ import annotations

from unittest import SkipTest

from tasuki.contracts.driver import SILENCE, Ack
from tasuki.testing.conformance.killed import Holder
from tasuki.testing.conformance.rig import Rig, Suite, case, ids

_LEASE = 300.0
_BACK = 15.0
"""Seconds within which the messages of a process that died are back."""
_CHECKED = 3.0
"""Seconds within which a waiting process looks at silent messages."""


class Deaths(Suite):
    """A process that holds messages and is silent: first it lives, then it is killed."""

    @case("sees_deaths", "multi_process")
    async def test_62_a_killed_holder_is_seen_and_a_silent_one_keeps_its_messages(self, rig: Rig) -> None:
        if rig.suite.hides_deaths:
            raise SkipTest("not applicable: a pooler hides the death of a process")
        spec = await rig.declare(lease=_LEASE)
        published = await rig.publish(*rig.messages(3))
        silent_for = SILENCE + _CHECKED if rig.driver.capabilities.sees_silence else _CHECKED
        async with Holder(rig.suite, rig.place, spec, 3) as holder:  # it renews nothing
            assert list(await rig.driver.receive(rig.queue, 1, silent_for)) == [], "its process lives"
            holder.kill()
            got = list(await rig.driver.receive(rig.queue, 3, _BACK))
            got += await rig.take(len(published) - len(got))
        assert sorted(ids(got)) == published
        assert all(delivery.suspect for delivery in got)
        assert list(await rig.driver.settle(rig.queue, [Ack(delivery.receipt) for delivery in got])) == []
        await rig.nothing()
