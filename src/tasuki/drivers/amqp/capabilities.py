"""What the driver can do; apart from the rest, so that it can be read where the client is not installed."""

from tasuki.contracts.driver import Capabilities
from tasuki.drivers.amqp.limits import LONGEST_DELAY, MAX_MESSAGE_BYTES

CAPABILITIES = Capabilities(
    durability="power",
    multi_process=True,
    ordered=True,
    ordering_key=True,
    native_delay=True,
    native_priority=True,
    declares_priorities=True,
    counts_attempts=True,
    sees_deaths=True,
    purge=True,
    delete=True,
    emulates=frozenset({"ordering_key", "native_delay", "native_priority"}),
    max_batch=1000,
    max_message_bytes=MAX_MESSAGE_BYTES,
    max_delay=LONGEST_DELAY,
)
