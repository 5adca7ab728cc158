"""Dates in JSON: which fields are moments, and numbers that are no times."""

from __future__ import annotations

import json

import msgspec
import pytest

from tasuki.desk.api import answers
from tasuki.moments import dated, iso, moments_in, plain, unix
from tasuki.state.pauses import Pause
from tasuki.state.worker_record import RunningMessage


@pytest.mark.parametrize(
    ("at", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (1796174400.25, "2026-12-02T01:20:00.250Z"), (-1, None), (1e18, None),
     (float("inf"), None), (float("nan"), None)],
)  # fmt: skip
def test_a_number_that_is_no_time_of_people_is_no_date(at: float, text: str | None) -> None:
    assert iso(at) == text


def test_a_date_is_read_back() -> None:
    assert unix(str(iso(1796174400.25))) == unix(1796174400.25) == 1796174400.25


def test_moments_within_an_answer_are_dates_and_other_numbers_stay() -> None:
    running = answers.RunningItem(RunningMessage("m", "app:f", 60.0), "app:c", "h:1")
    assert plain(running)["message"] == {"id": "m", "function": "app:f", "since": "1970-01-01T00:01:00.000Z"}
    assert plain(Pause(60.0)) == {"at": "1970-01-01T00:01:00.000Z", "until": None, "actor": "", "reason": ""}
    body = answers.ShownBody("json", 1, "1", False, msgspec.Raw(b"1.0"))
    assert json.loads(msgspec.json.encode(plain(body)))["value"] == 1.0


def test_fields_whose_text_is_a_time_are_moments() -> None:
    """So that none is forgotten when an answer gets a field."""
    names = {
        "at",
        "since",
        "started",
        "seen",
        "now",
        "begun",
        "ended",
        "published",
        "died",
        "minute_ends",
        "ends",
        "time",
    }
    for of in vars(answers).values():
        if isinstance(of, type) and issubclass(of, msgspec.Struct):
            floats = {field.name for field in msgspec.structs.fields(of) if "float" in str(field.type)}
            assert names & floats <= moments_in(of), of


def test_only_the_named_fields_of_plain_data_are_dates() -> None:
    rows = [{"seen": 60, "seen_ago": 3.0, "health": {"since": 60.0}, "until": None}]
    assert dated(rows, ("seen", "since", "until")) == [
        {
            "seen": "1970-01-01T00:01:00.000Z",
            "seen_ago": 3.0,
            "health": {"since": "1970-01-01T00:01:00.000Z"},
            "until": None,
        }
    ]
