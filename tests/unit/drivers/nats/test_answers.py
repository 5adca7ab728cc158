from typing import Any

import pytest

from tasuki.drivers.nats.failures import answer_in, denied, lost, refusal
from tasuki.drivers.nats.queues.setup import is_always, level
from tasuki.drivers.nats.receiving.settle_state import nak
from tasuki.drivers.nats.records.side_records import LastError, Note, note_in
from tasuki.errors import (
    AccessDeniedError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    QueueConflictError,
    QueueFullError,
    QueueNotFoundError,
    StorageFullError,
)


@pytest.mark.parametrize(
    ("code", "status", "text", "kind"),
    [
        (10059, 404, "stream not found", QueueNotFoundError),
        (10077, 503, "maximum messages exceeded", QueueFullError),
        (10077, 503, "maximum bytes exceeded", QueueFullError),
        (10077, 503, "store is closed", BrokerUnavailableError),
        (10047, 500, "insufficient storage resources available", StorageFullError),
        (10054, 400, "message size exceeds maximum allowed", MessageTooLargeError),
        (10065, 400, "subjects overlap with an existing stream", QueueConflictError),
        (10008, 503, "JetStream system temporarily unavailable", BrokerUnavailableError),
        (10005, 400, "no suitable peers for placement", BrokerUnavailableError),
        (10058, 400, "stream name already in use", QueueConflictError),
        (0, 0, "", QueueConflictError),
    ],
)
def test_what_the_server_refuses(code: int, status: int, text: str, kind: type[DriverError]) -> None:
    error = refusal({"code": status, "err_code": code, "description": text}, driver="d", queue="q")
    assert type(error) is kind
    assert (error.driver, error.queue, error.outcome) == ("d", "q", "rejected")
    assert "q" in str(error)


@pytest.mark.parametrize("answer", [b"", b"nonsense", b"[1]", b"\xff"])
def test_text_that_is_no_answer_is_an_error(answer: bytes) -> None:
    assert "error" in answer_in(answer)


def test_answers_without_an_error() -> None:
    assert answer_in(b'{"stream": "s", "seq": 1}') == {"stream": "s", "seq": 1}


def test_losses_and_denials_say_which_driver() -> None:
    assert lost("away", driver="d", outcome="unknown").outcome == "unknown"
    assert isinstance(denied("'Authorization Violation'", driver="d"), AccessDeniedError)
    assert str(denied("nats: 'Authorization Violation'", driver="d")).endswith("Authorization Violation")
    assert str(lost(OSError(), driver="d")).endswith("OSError")


@pytest.mark.parametrize(
    ("storage", "replicas", "is_synced", "wanted"),
    [
        ("memory", 1, True, "process"),
        ("memory", 3, True, "process"),
        ("file", 1, False, "broker"),
        ("file", 3, False, "broker"),
        ("file", 1, True, "power"),
        ("file", 3, True, "node"),
        ("file", 2, True, "power"),
    ],
)
def test_levels(storage: str, replicas: int, is_synced: bool, wanted: str) -> None:
    assert level(storage, replicas, is_synced=is_synced) == wanted


def test_what_a_server_says_of_syncing() -> None:
    assert is_always({"jetstream": {"config": {"sync_always": True}}})
    pages: list[Any] = [{}, {"jetstream": {}}, {"jetstream": {"config": {}}}, [], None, {"jetstream": {"config": 3}}]
    for page in pages:
        assert not is_always(page)


def test_notes_are_read_from_subjects() -> None:
    noted = note_in("tasuki.b.r.q.20.17.m.1700000000500", b"5 2 1 $JS.ACK.x")
    assert noted == Note(17, "m", 1700000000.5, failures=2, delivered=5, is_suspect=True)
    of_newer_version = note_in("tasuki.b.r.q.20.17.m.1700000000500", b"5 2 1 added $JS.ACK.x")
    assert of_newer_version == noted
    assert note_in("tasuki.b.r.q.20.17.m.1500") == Note(17, "m", 1.5)
    for subject in ("", "a.b", "tasuki.b.r.q.20.x.m.0", "tasuki.b.r.q.20.17.m.x"):
        assert note_in(subject) is None
    for error in (b"soon YQ==", b"1.5 !", b"1.5 /w==", b"1.5"):
        assert note_in("tasuki.b.r.q.20.17.m.1700000000500", b"5 2 1 %s r" % error) == noted
    for content in (b"many", b"1 2", b"1 2 x"):
        assert note_in("tasuki.b.r.q.20.17.m.0", content) is None


def test_a_note_keeps_the_last_error_and_is_not_longer_without_one() -> None:
    note = Note(17, "m", 1.5, failures=2, delivered=5)
    assert note.content("r") == b"5 2 0 r"
    for text in ("ValueError: first line\nsecond", "ü\0 襷", "\ud800"):
        failed = note._replace(last_error=LastError(text, 1700000000.25))
        read = note_in("tasuki.b.r.q.20.17.m.1500", failed.content("$JS.ACK.x"))
        assert read == note._replace(last_error=LastError(text.replace("\ud800", "?"), 1700000000.25))
        assert failed.content("$JS.ACK.x").rpartition(b" ")[2] == b"$JS.ACK.x"


def test_a_nack_is_never_early() -> None:
    assert nak(0.0) == nak(-1.0) == b"-NAK"
    assert nak(1.5) == b'-NAK {"delay":1500000001}'
    assert nak(1e300) == nak(9e9) == b'-NAK {"delay":9000000000000000000}'
