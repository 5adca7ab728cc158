"""Tracebacks in logs show the user's own frames."""

from __future__ import annotations

import logging
import sys

import pytest

from tasuki.observe.tracebacks import format_error
from tasuki.units import parse_duration


def user() -> None:
    parse_duration("soon")


def text_of(failing: object) -> str:
    try:
        failing()  # type: ignore[operator]
    except Exception:
        type_, error, trace = sys.exc_info()
        assert type_ is not None
        return format_error(type_, error, trace)
    raise AssertionError


def chained() -> None:
    try:
        user()
    except ValueError as error:
        raise RuntimeError("no") from error


def grouped() -> None:
    try:
        user()
    except ValueError as error:
        raise ExceptionGroup("both", [error]) from None


@pytest.mark.parametrize("failing", [user, chained, grouped])
def test_frames_of_this_package_are_left_out(failing: object) -> None:
    text = text_of(failing)
    assert "in user" in text
    assert "'soon' is not a duration" in text
    assert "units.py" not in text


def test_an_error_of_this_package_alone_keeps_its_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasuki.observe.tracebacks._PACKAGE", sys.prefix[:1])  # every file is below it
    assert "units.py" in text_of(user)


def test_all_frames_at_the_level_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tasuki")
    assert "units.py" in text_of(user)
