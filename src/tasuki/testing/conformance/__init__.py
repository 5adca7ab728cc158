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
from tasuki.testing.conformance.driver.content import Content, Duplicates
from tasuki.testing.conformance.driver.failing import Failing, Restoring
from tasuki.testing.conformance.driver.moving import Moving
from tasuki.testing.conformance.driver.running import Running
from tasuki.testing.conformance.driver.settling import Settling
from tasuki.testing.conformance.driver.stress import Stress
from tasuki.testing.conformance.driver.suspects import Suspects
from tasuki.testing.conformance.driver.transferring import Transferring
from tasuki.testing.conformance.driver.whole import Whole
from tasuki.testing.conformance.driver.within import SettlingWithin
from tasuki.testing.conformance.queues.by_id import ById
from tasuki.testing.conformance.queues.causes import CausesOfDeath, LastErrors
from tasuki.testing.conformance.queues.inspecting import Counting, Inspecting
from tasuki.testing.conformance.queues.lanes import Lanes
from tasuki.testing.conformance.queues.limits import Limits
from tasuki.testing.conformance.queues.turns import Turns
from tasuki.testing.conformance.queues.uniques import Uniques
from tasuki.testing.conformance.rig import Rig, Suite, case


class DriverConformance(
    Clauses,
    Content,
    Duplicates,
    Settling,
    Suspects,
    Inspecting,
    Failing,
    Restoring,
    Running,
    Whole,
    Stress,
    Counting,
    Moving,
    Transferring,
    ById,
    CausesOfDeath,
    LastErrors,
    Uniques,
    Limits,
    Lanes,
    Turns,
    SettlingWithin,
):
    """Every case; see :class:`Suite` for the hooks."""


__all__ = ["DriverConformance", "Rig", "ShiftedClock", "Suite", "case"]
