"""What the driver can do; apart from the rest, so that it can be read where the client is not installed."""

from tasuki.contracts.driver import Capabilities
from tasuki.drivers.amqp.limits import LONGEST_DELAY, MAX_MESSAGE_BYTES

CAPABILITIES = Capabilities(
    "power",
    frozenset({"ordered", "ordering_key", "native_priority", "declares_priorities", "sees_deaths", "purge"}),
    emulates=frozenset({"ordering_key", "native_delay", "native_priority"}),
    max_batch=1000,
    max_message_bytes=MAX_MESSAGE_BYTES,
    max_delay=LONGEST_DELAY,
)
