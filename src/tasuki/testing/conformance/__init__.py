"""The conformance suite: run it against your own driver.

::

    from tasuki.testing.conformance import DriverConformance, ShiftedClock

    class TestMyDriver(DriverConformance):
        def make_driver(self, place: Path, clock: ShiftedClock) -> Driver:
            return MyDriver("mine", url="...", prefix=place.name)

That is all. ``takes_clock = False`` if your driver cannot be given a clock; ``broken`` and ``restart`` if the suite can
stop your broker. The cases are plain synchronous tests, each with its own loop, so any test runner will do. A case
that needs a capability which the driver does not claim is skipped, and says so.
"""

from tasuki.testing.conformance.clock import ShiftedClock
from tasuki.testing.conformance.driver.clauses import Clauses
from tasuki.testing.conformance.driver.content import Content, Edges
from tasuki.testing.conformance.driver.duplicates import Duplicates
from tasuki.testing.conformance.driver.failing import Failing
from tasuki.testing.conformance.driver.last_errors import LastErrors
from tasuki.testing.conformance.driver.moving import Moving
from tasuki.testing.conformance.driver.restoring import Restoring
from tasuki.testing.conformance.driver.running import Running
from tasuki.testing.conformance.driver.settling import Settling
from tasuki.testing.conformance.driver.suspects import Deaths, Suspects
from tasuki.testing.conformance.driver.transferring import Transferring, Transfers
from tasuki.testing.conformance.driver.within import Claiming, SettlingWithin
from tasuki.testing.conformance.queues.by_id import Expediting, Finding, Removing
from tasuki.testing.conformance.queues.causes import CausesOfDeath
from tasuki.testing.conformance.queues.counting import Counting, Purging
from tasuki.testing.conformance.queues.inspecting import Inspecting
from tasuki.testing.conformance.queues.lanes import LaneChanges, Lanes
from tasuki.testing.conformance.queues.limits import Limits, Places
from tasuki.testing.conformance.queues.turns import Turns
from tasuki.testing.conformance.queues.uniques import UniqueKeys, Uniques
from tasuki.testing.conformance.rig import Rig, Suite, case
from tasuki.testing.conformance.whole.stress import Stress
from tasuki.testing.conformance.whole.whole import Asking, Batches, Publishing, Whole


class DriverConformance(
    Clauses,
    Content,
    Duplicates,
    Settling,
    Suspects,
    Deaths,
    Inspecting,
    Edges,
    Failing,
    Restoring,
    Running,
    Whole,
    Stress,
    Asking,
    Batches,
    Publishing,
    Counting,
    Purging,
    Moving,
    Transferring,
    Transfers,
    Finding,
    CausesOfDeath,
    Removing,
    Expediting,
    LastErrors,
    Uniques,
    UniqueKeys,
    Limits,
    Places,
    Lanes,
    LaneChanges,
    Turns,
    SettlingWithin,
    Claiming,
):
    """Every case; see :class:`Suite` for the hooks."""


__all__ = ["DriverConformance", "Rig", "ShiftedClock", "Suite", "case"]
