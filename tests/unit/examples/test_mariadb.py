"""The parts of the MariaDB driver that need no server."""

from __future__ import annotations

from math import inf
from pathlib import Path

import aiomysql
import pytest
from pydantic import ValidationError

from tasuki.contracts.driver import Outgoing
from tasuki.errors import (
    AccessDeniedError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    QueueFullError,
    UnsupportedError,
)
from tasuki_mariadb import rules
from tasuki_mariadb.connecting import Connector, Link, Pool, literal, translated
from tasuki_mariadb.rules import BEHIND, DELAYED, HELD, READY
from tasuki_mariadb.settings import KIND, MariaDbSettings
from tests.support.settings import parsed


def message(id: str, *, deduplicate: bool = True) -> Outgoing:
    return Outgoing(id, b"", {}, 0.0, 0, None, deduplicate)


def test_without_a_window_equal_ids_are_two_messages() -> None:
    batch = [message("a"), message("a")]
    assert rules.choose(batch, None, inf) == (batch, 2)


def test_a_known_id_needs_no_room_and_the_first_without_room_ends_a_batch() -> None:
    batch = [message("known"), message("a"), message("a"), message("b"), message("known")]
    known = {rules.digest("known")}
    assert rules.choose(batch, known, 1) == ([batch[1]], 3)
    assert known == {rules.digest("known"), rules.digest("a")}


def test_a_forced_message_is_stored_and_not_remembered() -> None:
    forced = message("known", deduplicate=False)
    known = {rules.digest("known")}
    assert rules.choose([forced, message("new")], known, inf)[0] == [forced, message("new")]
    assert known == {rules.digest("known"), rules.digest("new")}
    assert rules.choose([message("b", deduplicate=False), message("b")], seen := set[bytes](), inf)[1] == 2
    assert seen == {rules.digest("b")}


@pytest.mark.parametrize(
    ("found", "heads", "expected"),
    [
        ([(1, b"k", READY)], {b"k": 1}, ([], [])),
        ([], {b"k": 2}, ([], [2])),
        ([(1, b"k", READY), (2, b"k", READY)], {b"k": 1}, ([2], [])),
        ([(1, b"k", HELD), (2, b"k", DELAYED)], {b"k": 1}, ([2], [])),
        ([(2, b"k", HELD), (1, b"k", READY)], {b"k": 1}, ([1], [])),
        ([(2, b"k", HELD)], {b"k": 1}, ([], [])),
        ([(2, b"k", HELD), (3, b"l", READY)], {b"k": 2, b"l": 3}, ([], [])),
    ],
    ids=["front", "next", "second", "behind-held", "late-order", "waits-for-later", "two-keys"],
)
def test_the_front_of_each_key(
    found: list[tuple[int, bytes, int]], heads: dict[bytes, int], expected: tuple[list[int], list[int]]
) -> None:
    assert rules.fronts(found, heads) == expected
    assert max(READY, DELAYED, HELD) < BEHIND  # the store asks for the states up to HELD


def test_a_receive_stops_at_its_bytes_and_takes_one_at_least() -> None:
    assert rules.within([(1, 10), (2, 10), (3, 10)], 15) == [1, 2]
    assert rules.within([(1, 100), (2, 1)], 15) == [1]
    assert rules.within([], 15) == []


@pytest.mark.parametrize(
    ("outgoing", "kind"),
    [
        (Outgoing("a", bytes(rules.MAX_BODY + 1), {}), MessageTooLargeError),
        (Outgoing("\ud800", b"", {}), UnsupportedError),
        (Outgoing("a", b"", {}, 0.0, 0, "\ud800"), UnsupportedError),
        (Outgoing("a", b"", {"n": 2**80}), UnsupportedError),
    ],
    ids=["large", "id", "key", "header"],
)
def test_what_cannot_be_kept(outgoing: Outgoing, kind: type[DriverError]) -> None:
    assert type(rules.refusal("db", "q", outgoing)) is kind


def testliterals_need_no_escape() -> None:
    values = [None, True, 7, 1.5, "it's", b"\0'\\", [1, b"a"], 1e300]
    assert [literal(value) for value in values] == [
        "NULL", "True", "7", "1.5", "X'69742773'", "X'00275c'", "(1, X'61')", "1e+300",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (aiomysql.OperationalError(1045, "Access denied"), AccessDeniedError),
        (aiomysql.OperationalError(1213, "Deadlock found"), BrokerUnavailableError),
        (aiomysql.OperationalError(2013, "Lost connection"), BrokerUnavailableError),
        (aiomysql.InternalError("Packet sequence number wrong"), BrokerUnavailableError),
        (aiomysql.OperationalError(1114, "The table is full"), QueueFullError),
        (aiomysql.OperationalError(1153, "Got a packet bigger"), MessageTooLargeError),
        (aiomysql.ProgrammingError(1064, "You have an error"), DriverError),
        (ConnectionRefusedError(111, "refused"), BrokerUnavailableError),
        (TimeoutError(), BrokerTimeoutError),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, Exception) else "",
)
def test_errors_of_the_server(problem: Exception, kind: type[DriverError]) -> None:
    error = translated(problem, "mariadb://db/app", "db", "q", "rejected")
    assert type(error) is kind
    assert (error.driver, error.queue, error.outcome) == ("db", "q", "rejected")
    assert "mariadb://db/app" in str(error)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mysql://db/app", "write mariadb://"),
        ("mariadb://db", "names no database"),
        ("mariadb://u:se/cret@db/app", "write mariadb://"),
    ],
)
def test_addresses_that_cannot_be_used(url: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem) as caught:
        parsed(MariaDbSettings, url=url)
    assert "se/cret" not in str(caught.value)


def test_a_server_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="remove server_name"):
        parsed(MariaDbSettings, url="mariadb://db/app", tls={"server_name": "other"})


def test_where_queues_are() -> None:
    assert KIND.place is not None
    one, two, three = (
        KIND.place(parsed(MariaDbSettings, url=url, prefix=prefix), Path())
        for url, prefix in (
            ("mariadb://a:b@localhost/app", "tasuki"),
            ("mariadb://c@127.0.0.1:3306/app", "tasuki"),
            ("mariadb://a:b@localhost/app", "other"),
        )
    )
    assert one == two
    assert one != three


class Connection:
    """The client's connection, which is lost in one of its calls."""

    closed = False

    def __init__(self, lost_in: str) -> None:
        self.lost_in = lost_in

    async def commit(self) -> None:
        if self.lost_in == "commit":
            raise ConnectionResetError(104, "reset")

    async def rollback(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


@pytest.mark.anyio
@pytest.mark.parametrize(("lost_in", "outcome"), [("work", "rejected"), ("commit", "unknown")])
async def test_only_a_commit_without_an_answer_is_uncertain(
    monkeypatch: pytest.MonkeyPatch, lost_in: str, outcome: str
) -> None:
    connector = Connector(parsed(MariaDbSettings, url="mariadb://localhost/app"))
    connection = Connection(lost_in)

    async def connect(_: Connector) -> Link:
        return Link(connection)

    async def work(_: Link) -> None:
        if lost_in == "work":
            raise ConnectionResetError(104, "reset")

    monkeypatch.setattr(Connector, "__call__", connect)
    with pytest.raises(BrokerUnavailableError) as caught:
        await Pool(connector, "db", 1, 10.0).transact(work)
    assert caught.value.outcome == outcome
    assert connection.closed
