"""Layout: which versions of Tasuki can work with what the streams of one prefix hold (ADR 16), as a record.

The record is the last message on ``<prefix>.b.v``: JSON with ``version`` and ``min_version``. Keys that a newer version
has added stay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from tasuki.drivers.nats.failures import is_stream_or_message_missing, is_wrong_sequence, refusal
from tasuki.drivers.nats.protocol.api import Request, data_of, demand, store
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.names import Names
from tasuki.drivers.toolkit.layout import Layout, is_outdated
from tasuki.errors import DriverError

LAYOUT = Layout(version=2, min_version=2)
"""Of this version of Tasuki; one of layout 1 would not receive from the lane of delayed messages.

The streams of versions before the record have layout 0, and this one works with them.
"""

_IF_LAST = b"NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: %d\r\n\r\n"


async def check(connection: Connection, names: Names) -> None:
    """Look whether this version can work with the streams of the prefix; changes nothing.

    Raises:
        DriverError: they need a newer one, or the record is not Tasuki's.
        BrokerUnavailableError, BrokerTimeoutError: the server does not answer.
    """
    _is_outdated(connection, names, (await _read(connection, names)).layout)


async def bring_up_to_date(connection: Connection, names: Names) -> None:
    """Record our layout, unless this or a newer one is recorded; the stream must be there. Raises as ``check`` does."""
    while True:
        record = await _read(connection, names)
        if not _is_outdated(connection, names, record.layout):
            return
        content = json.dumps({**record.fields, **LAYOUT._asdict()}).encode()
        (error,) = await store(connection, "", [(names.layout, content)], [_IF_LAST % record.number])
        if not error:
            return
        if not is_wrong_sequence(error):  # else another process was faster, and what it wrote decides
            raise refusal(error, driver=connection.address.driver, queue="")


class _Record(NamedTuple):
    layout: Layout
    fields: Mapping[str, Any]
    """Also those that this version does not know."""
    number: int
    """Its message in the stream; 0: there is none."""


async def _read(connection: Connection, names: Names) -> _Record:
    request: Request = f"STREAM.MSG.GET.{names.records_stream}", {"last_by_subj": names.layout}
    (answer,) = await demand(connection, "", request, unless=is_stream_or_message_missing)
    if "error" in answer:
        return _Record(Layout(0, 0), {}, 0)
    message = answer["message"]
    number = int(message["seq"])
    try:
        fields = json.loads(data_of(message))
        return _Record(Layout(int(fields["version"]), int(fields["min_version"])), fields, number)
    except (ValueError, TypeError, KeyError) as error:
        problem = (
            f"stream {names.records_stream!r}: message {number} on subject {names.layout!r} is no record of a layout; "
            "remove that message if another program has written it"
        )
        raise DriverError(problem, driver=connection.address.driver) from error


def _is_outdated(connection: Connection, names: Names, found: Layout) -> bool:
    return is_outdated(found, LAYOUT, place=f"NATS prefix {names.prefix!r}", driver=connection.address.driver)
