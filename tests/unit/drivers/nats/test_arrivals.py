"""The facts of a delivery: from its reply subject and from the records."""

import pytest

from tasuki.drivers.nats.receiving.deliveries import Arrival, ParsedDelivery, ReplyParts, read
from tasuki.drivers.nats.records.side_records import Note

WANTED = ReplyParts("tasuki+tasks", "m", 3, 17, 1700000000.5)


@pytest.mark.parametrize(
    "reply",
    [
        "$JS.ACK.tasuki+tasks.m.3.17.21.1700000000500000000.4",
        "$JS.ACK._.ACCOUNT.tasuki+tasks.m.3.17.21.1700000000500000000.4",
        "$JS.ACK.hub.ACCOUNT.tasuki+tasks.m.3.17.21.1700000000500000000.4.random",
    ],
)
def test_all_forms_of_reply_subjects_are_read(reply: str) -> None:
    assert read(reply) == WANTED


@pytest.mark.parametrize(
    "reply", ["", "_INBOX.a.b", "$JS.ACK.a.b.c", "$JS.ACK.s.m.x.17.21.17.4", "$JS.FC.s.m.3.17.21.17.4"]
)
def test_text_that_is_no_receipt_gives_none(reply: str) -> None:
    assert read(reply) is None


def item(delivered: int, note: Note | None = None) -> ParsedDelivery:
    made = ParsedDelivery(Arrival("r", ReplyParts("s", "m", delivered, 7, 0.0), b"body", 0.0, 9))
    made.learn(note)
    return made


@pytest.mark.parametrize(
    ("delivered", "note", "failures", "is_suspect", "has_lapsed"),
    [
        (1, None, 0, False, False),
        (2, None, 0, True, True),  # the end of the first delivery is unknown
        (2, Note(7, "m", failures=1, delivered=1), 1, False, False),  # a nack
        (2, Note(7, "m", failures=0, delivered=1), 0, False, False),  # a release
        (2, Note(7, "m", failures=0, delivered=1, is_suspect=True), 0, True, False),  # the release of a suspect
        (3, Note(7, "m", failures=1, delivered=1), 1, True, True),  # a nack, and then a lost delivery
        (2, Note(7, "m", failures=1, delivered=0, is_suspect=True), 1, True, True),  # a start, and nothing more
        (
            1,
            Note(7, "m", failures=1, delivered=1),
            1,
            False,
            False,
        ),  # the server has forgotten the delivery of the nack
    ],
)
def test_how_the_last_delivery_ended(
    delivered: int, note: Note | None, failures: int, is_suspect: bool, has_lapsed: bool
) -> None:
    found = item(delivered, note)
    assert (found.failures, found.is_suspect, found.has_lapsed) == (failures, is_suspect, has_lapsed)


def test_a_delivery_that_is_handed_over_ends_all_before_it() -> None:
    assert item(3, Note(7, "m", failures=1, delivered=1)).lapsed() == (Note(7, "m", 0.0, 1, 2, is_suspect=True), "r")


def test_a_delivery_returned_unseen_keeps_its_note() -> None:
    assert item(2).returned(5.0) == (Note(7, "m", 5.0, 0, 2, is_suspect=True), "r")
    assert item(1).returned() == (Note(7, "m", 0.0, 0, 1, is_suspect=False), "r")
