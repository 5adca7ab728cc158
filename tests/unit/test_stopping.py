"""What a row of signals to stop means."""

from __future__ import annotations

import signal

import pytest

from tasuki.system.signals import Meaning, StopSignals

TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.mark.parametrize(
    ("heard", "blocked_at", "unheeded_from"),
    [
        ([], 0.0, None),
        ([(TERM, 5.0)], 0.0, 15.0),
        ([(TERM, 5.0)], 8.0, 18.0),
        ([(TERM, 5.0), (TERM, 5.2)], 0.0, 15.0),
        ([(TERM, 5.0), (TERM, 6.0)], 0.0, 6.0),
    ],
)
def test_when_a_blocked_loop_has_not_heeded_them(
    heard: list[tuple[int, float]], blocked_at: float, unheeded_from: float | None
) -> None:
    signals = StopSignals()
    for number, now in heard:
        signals.hear(number, now)
    found = [now for now in range(6, 30) if signals.are_unheeded(blocked_at, now, 10.0)]
    assert next(iter(found), None) == unheeded_from


@pytest.mark.parametrize(
    ("heard", "meanings"),
    [
        ([(TERM, 5.0)], "drain"),
        ([(TERM, 5.0), (TERM, 5.002)], "drain nothing"),
        ([(TERM, 5.0), (TERM, 5.2), (TERM, 5.4)], "drain nothing nothing"),
        ([(TERM, 5.0), (TERM, 5.002), (TERM, 5.6)], "drain nothing cancel"),
        ([(TERM, 5.0), (INT, 5.002)], "drain cancel"),
        ([(INT, 5.0), (INT, 6.0), (INT, 7.0), (TERM, 8.0)], "drain cancel nothing nothing"),
    ],
)
def test_what_signals_mean(heard: list[tuple[int, float]], meanings: str) -> None:
    signals = StopSignals()
    assert [signals.hear(number, now) for number, now in heard] == [Meaning(word) for word in meanings.split()]
