import pytest

from tasuki.drivers.nats.receiving.arrivals import Receipt, read

WANTED = Receipt("tasuki+tasks", "m", 3, 17, 1700000000.5)


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
