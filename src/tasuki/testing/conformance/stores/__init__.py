"""The conformance suite of stores: run it against the store of your own driver.

::

    from tasuki.testing.conformance import ShiftedClock
    from tasuki.testing.conformance.stores import StoreConformance

    class TestMyStore(StoreConformance):
        def make_driver(self, place: Path, clock: ShiftedClock) -> Driver:
            return MyDriver("mine", url="...", prefix=place.name)

The hooks of the driver's suite (:class:`~tasuki.testing.conformance.Suite`) are here too; write ``full`` if the suite
can fill the store. A case that needs a fact which the store does not claim is skipped, and says so.
"""

from tasuki.testing.conformance.rig import case
from tasuki.testing.conformance.stores.entries import Entries
from tasuki.testing.conformance.stores.failing import Failing
from tasuki.testing.conformance.stores.killing import Killing
from tasuki.testing.conformance.stores.limits import Places, Tokens
from tasuki.testing.conformance.stores.rig import StoreRig, StoreSuite
from tasuki.testing.conformance.stores.running import Running
from tasuki.testing.conformance.stores.watching import Listing, Watching


class StoreConformance(Entries, Listing, Watching, Tokens, Places, Running, Failing, Killing):
    """Every case; see :class:`StoreSuite` for the hooks."""


__all__ = ["StoreConformance", "StoreRig", "StoreSuite", "case"]
