"""Messages become columns, rows become messages, and receipts find their settlements."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, Release, Settlement, Waiting
from tasuki.drivers.postgres import columns as rows
from tasuki.errors import MessageTooLargeError, UnsupportedError


def outgoing(id: str = "m", body: bytes = b"", headers: Any = None, **options: Any) -> Outgoing:
    return Outgoing(id, body, headers or {}, **options)


def test_columns_that_say_nothing_are_not_sent() -> None:
    assert rows.arrays([outgoing("a"), outgoing("b", b"x")]) == (["a", "b"], [b"", b"x"], [None, None], *[None] * 4)


def test_every_column() -> None:
    batch = [
        outgoing("a", b"1", {"n": 1}, delay=2.0, priority=9, key="k"),
        outgoing("b", b"2", {"f": 1.0}, deduplicate=False),
    ]
    assert rows.arrays(batch) == (
        ["a", "b"],
        [b"1", b"2"],
        [b'{"n":1}', b'{"f":1.0}'],
        [0, 9],
        ["k", None],
        [2.0, 0.0],
        [False, True],
    )


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (outgoing("a\0"), UnsupportedError),
        (outgoing("\ud800"), UnsupportedError),
        (outgoing(key="\0"), UnsupportedError),
        (outgoing(headers={"a": "\ud800"}), UnsupportedError),
        (outgoing(headers={"a": object()}), UnsupportedError),
        (outgoing(body=bytes(rows.MAX_BODY + 1)), MessageTooLargeError),
    ],
)
def test_what_cannot_be_kept(message: Outgoing, kind: type[Exception]) -> None:
    with pytest.raises((TypeError, ValueError)):
        rows.arrays([outgoing(), message])
    assert type(rows.refusal("driver", "q", message)) is kind
    assert rows.refusal("driver", "q", outgoing()) is None


def test_a_batch_of_many_megabytes_is_split_in_order() -> None:
    half = bytes(rows.MAX_STATEMENT // 2)
    batch = [outgoing("a", half), outgoing("b", half), outgoing("c", half), outgoing("d", bytes(rows.MAX_BODY))]
    parts = rows.parts(rows.arrays(batch))
    assert [part[0] for part in parts] == [["a", "b"], ["c"], ["d"]]
    assert [list(map(len, part[1])) for part in parts] == [[len(half)] * 2, [len(half)], [rows.MAX_BODY]]
    assert all(part[3:] == (None,) * 4 for part in parts)
    assert len(rows.parts(rows.arrays(batch[:2]))) == 1


def test_deliveries_out_of_rows() -> None:
    (got,) = rows.received([(7, 3, 2, "id", b'{"a":1,"b":1.0,"c":true,"d":"x"}', b"body", True, None, None)])
    assert (got.id, got.body, got.receipt, got.attempt, got.suspect) == ("id", b"body", (7, 3), 2, True)
    assert {key: type(value) for key, value in got.headers.items()} == {"a": int, "b": float, "c": bool, "d": str}


@pytest.mark.parametrize("headers", [b'{"a": "\x80"}', None, b"", b"no json", b"[]", b'{"a": [1]}', b'{"a": null}'])
def test_headers_of_another_program_stop_nothing(headers: bytes | None) -> None:
    assert rows.message((7, "id", headers, b"body", None, None, 0, 0.0)).headers == {}
    shown = rows.message((7, "id", headers, b"body", "nö\0".encode(), 5.5, 2, 9.0))
    assert isinstance(shown, Waiting)
    assert (shown.failures, shown.delay) == (2, 9.0)
    assert shown.headers == {"x_last_error": "nö\0", "x_last_error_time": 5.5}


def test_of_two_settlements_of_one_delivery_the_first_counts() -> None:
    batch: list[Settlement] = [Ack((2, 1)), Nack((2, 1)), Release((1, 1)), Nack((3, 1), 4.0), Ack("foreign"), Ack((1,))]
    columns, wanted = rows.settling(batch)
    assert columns == ([1, 2, 3], [1, 1, 1], [2, 0, 1], [0.0, 0.0, 4.0])
    assert rows.stale(batch, wanted, []) == [(2, 1), "foreign", (1,)]
    assert rows.stale(batch, wanted, [1]) == [(2, 1), (1, 1), "foreign", (1,)]


def test_acks_alone_need_no_more_than_their_receipts() -> None:
    batch = [Ack((2, 5)), Ack((1, 4))]
    columns, wanted = rows.settling(batch)
    assert columns == ([1, 2], [4, 5], None, None)
    assert rows.stale(batch, wanted, []) == []
    assert rows.stale(batch, wanted, [2]) == [(2, 5)]
    assert rows.settling([])[0] == ([], [], None, None)


def test_two_receipts_of_one_message_are_distinguished() -> None:
    batch = [Ack((1, 1)), Ack((1, 2))]
    _, wanted = rows.settling(batch)
    assert rows.stale(batch, wanted, [1]) == [(1, 1)]
