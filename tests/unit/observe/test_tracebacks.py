"""Tracebacks that are kept say the same as Python's, without secrets and without our frames, and are made once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tasuki.errors import HandlerError
from tasuki.observe import tracebacks
from tasuki.observe.redact import redact
from tasuki.observe.tracebacks import format_error, kept_traceback, shown_traceback, user_traceback


def plain() -> None:
    raise ValueError("text")


def empty() -> None:
    raise ValueError


def caused() -> None:
    try:
        plain()
    except ValueError as error:
        raise KeyError("outer") from error


def in_handling() -> None:
    try:
        caused()
    except KeyError:
        raise ConnectionError("again") from None


def during() -> None:
    try:
        caused()
    except KeyError:
        plain()


def noted() -> None:
    error = OSError("noted")
    error.add_note("one\ntwo")
    raise error


def suggested() -> None:
    number = 1
    print(nunber + number)  # type: ignore[name-defined] # noqa: F821


def no_syntax() -> None:
    compile("a b", "file.py", "exec")


def grouped() -> None:
    raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])


def in_a_circle() -> None:
    error = ValueError("round")
    raise error from error


def recursive(depth: int = 9) -> None:
    if depth:
        recursive(depth - 1)
    plain()


class OwnError(Exception):
    pass


def own() -> None:
    raise OwnError("mine")


def long_chain() -> None:
    last = ValueError("0")
    for number in range(1, 30):
        error = ValueError(str(number))
        error.__cause__ = last
        last = error
    raise last


def caught(function: Callable[[], None]) -> BaseException:
    with pytest.raises(BaseException) as raised:  # noqa: PT011
        function()
    return raised.value


@pytest.mark.parametrize(
    "function",
    [plain, empty, caused, in_handling, during, noted, suggested, no_syntax, grouped, in_a_circle, recursive, own,
     long_chain],
)  # fmt: skip
def test_it_says_what_python_says(function: Callable[[], None]) -> None:
    error = caught(function)
    for _ in range(2):  # made, and from the cache
        assert shown_traceback(error, 100_000) == redact(format_error(error))
        assert kept_traceback(error, 100_000) == redact(user_traceback(error, 100_000))


def test_an_error_that_was_never_raised() -> None:
    assert kept_traceback(ValueError("new"), 1000) == ""
    assert shown_traceback(ValueError("new"), 1000) == "Traceback (most recent call last):\nValueError: new\n"


def test_of_a_long_one_the_end_is_kept() -> None:
    text = kept_traceback(caught(recursive), 30)
    assert len(text) == 30
    assert text.startswith("…")
    assert text.endswith("ValueError: text")


def test_of_a_long_text_the_end_is_kept() -> None:
    def fail() -> None:
        raise ValueError("x" * 100_000 + " the end")

    assert kept_traceback(caught(fail), 100).endswith(" the end")
    assert len(shown_traceback(caught(fail), 1000)) < 5000


def test_secrets_are_masked_in_code_and_in_the_text() -> None:
    def fail() -> None:
        password = "hunter2"
        raise ValueError("postgres://me:hunter3@db" + password[:0])

    def call() -> None:
        fail() if "token=hunter4" else None

    for text in (kept_traceback(caught(call), 5000), shown_traceback(caught(call), 5000)):
        assert "hunter" not in text
        assert "in fail" in text


def test_an_error_of_another_process_has_its_own() -> None:
    error = HandlerError("no", traceback="x" * 50 + 'File "a.py"\npassword=hunter2')
    assert kept_traceback(error, 40).endswith('File "a.py"\npassword=***')


def test_an_error_whose_text_raises() -> None:
    class Bad(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    class Worse(Exception):
        @property
        def __notes__(self) -> list[str]:  # type: ignore[override]
            raise RuntimeError

    def bad() -> None:
        raise Bad

    def worse() -> None:
        raise Worse

    assert "(its text cannot be shown)" in kept_traceback(caught(bad), 1000)
    assert kept_traceback(caught(worse), 1000) == ""


def test_the_frames_of_a_way_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracebacks, "_ways", {})
    for _ in range(3):
        kept_traceback(caught(plain), 1000)
    assert len(tracebacks._ways) == 1


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracebacks, "_ways", {})
    for number in range(tracebacks.MOST_WAYS + 10):
        source = "\n" * number + "raise ValueError('here')"
        with pytest.raises(ValueError, match="here") as raised:
            exec(compile(source, f"{number}.py", "exec"), {})
        assert f'"{number}.py", line {number + 1},' in kept_traceback(raised.value, 1000)
    assert len(tracebacks._ways) <= tracebacks.MOST_WAYS
