"""What a row of signals to stop means."""

from __future__ import annotations

import signal

import pytest

from tasuki.stopping import Meaning, StopSignals

TERM, INT = signal.SIGTERM, signal.SIGINT


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
