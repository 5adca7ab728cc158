from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.backoff import Backoff
from tasuki.units import format_duration, format_size, parse_duration, parse_size


@contextmanager
def refusal_that_names(text: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        if repr(text) not in str(error):
            raise AssertionError(f"{error} does not name {text!r}") from error


@given(st.integers(0, 10**12))
def test_a_duration_of_whole_milliseconds_survives_its_text(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=0.0005)


@given(st.integers(0, 2**60))
def test_a_size_survives_its_text(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    with refusal_that_names(text):
        assert parse_duration(text) >= 0


@given(st.text(max_size=20))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    with refusal_that_names(text):
        assert parse_size(text) >= 0


@given(
    st.floats(0.001, 100),
    st.floats(100, 1000),
    st.floats(1, 10),
    st.floats(0, 1),
    st.integers(0, 10_000),
)
def test_a_backoff_is_never_negative_nor_above_its_cap(
    first: float, cap: float, factor: float, jitter: float, failures: int
) -> None:
    assert 0 <= Backoff(first, cap, factor, jitter).delay(failures) <= cap
