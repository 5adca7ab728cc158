"""The layout of the streams of one prefix (docs/adr/0065): the last message on ``<prefix>.b.v``, as JSON."""

from __future__ import annotations

import json

from tasuki.drivers.nats.failures import is_stream_or_message_missing, is_wrong_sequence, refusal
from tasuki.drivers.nats.protocol.api import Request, data_of, demand, store
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.names import Names
from tasuki.drivers.toolkit.layout import require
from tasuki.errors import DriverError

LAYOUT = 1
_IF_NONE = b"NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: 0\r\n\r\n"


async def check(connection: Connection, names: Names) -> bool:
    """Whether the layout of the streams is recorded; changes nothing.

    Raises:
        DriverError: it is another one, or the record is not Tasuki's.
        BrokerUnavailableError, BrokerTimeoutError: the server does not answer.
    """
    driver = connection.address.driver
    request: Request = f"STREAM.MSG.GET.{names.records_stream}", {"last_by_subj": names.layout}
    (answer,) = await demand(connection, "", request, unless=is_stream_or_message_missing)
    if "error" in answer:
        return False
    try:
        found = json.loads(data_of(answer["message"])).get("layout")
    except (ValueError, AttributeError) as error:
        problem = (
            f"stream {names.records_stream!r}: message {answer['message']['seq']} on subject {names.layout!r} is no "
            "record of a layout; remove that message if another program has written it"
        )
        raise DriverError(problem, driver=driver) from error
    require(found, LAYOUT, place=f"NATS prefix {names.prefix!r}", instead="stream_prefix", driver=driver)
    return True


async def record(connection: Connection, names: Names) -> None:
    """Record the layout, unless it is; the stream must be there. Raises as ``check`` does."""
    while not await check(connection, names):
        content = json.dumps({"layout": LAYOUT}).encode()
        (error,) = await store(connection, "", [(names.layout, content)], [_IF_NONE])
        if not error:
            return
        if not is_wrong_sequence(error):  # else another process was faster
            raise refusal(error, driver=connection.address.driver, queue="")
