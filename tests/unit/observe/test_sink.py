import io
import sys
import threading

import pytest

from tasuki.observe.log import Sink


class GatedStream(io.StringIO):
    """Blocks in ``write`` until the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.entered = threading.Event()

    def write(self, text: str) -> int:
        self.entered.set()
        self.gate.wait(10)
        return super().write(text)


class BrokenStream(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_lines_arrive_in_order() -> None:
    stream = io.StringIO()
    sink = Sink(stream)
    for number in range(1000):
        sink.write(f"{number}\n")
    assert sink.flush()
    assert stream.getvalue() == "".join(f"{number}\n" for number in range(1000))
    sink.close()
    assert sink.dropped == 0


def test_a_stuck_stream_costs_lines_not_time() -> None:
    stream = GatedStream()
    sink = Sink(stream, limit=5)
    sink.write("first\n")
    assert stream.entered.wait(10)
    for number in range(8):
        sink.write(f"{number}\n")
    assert sink.dropped == 3
    assert not sink.flush(0)
    stream.gate.set()
    assert sink.flush(10)
    assert stream.getvalue() == "first\n0\n1\n2\n3\n4\n"
    sink.close(10)


def test_a_broken_pipe_is_counted() -> None:
    sink = Sink(BrokenStream())
    sink.write("a\n")
    assert sink.flush(10)
    assert sink.dropped == 1
    sink.close(10)


def test_a_closed_stream_is_counted() -> None:
    stream = io.StringIO()
    stream.close()
    sink = Sink(stream)
    sink.write("a\n")
    sink.close(10)
    assert sink.dropped == 1


def test_close_ends_the_thread_and_a_write_begins_anew() -> None:
    stream = io.StringIO()
    sink = Sink(stream)
    sink.close()
    before = set(threading.enumerate())
    for _ in range(3):
        sink.write("a\n")
        sink.close(10)
    assert set(threading.enumerate()) <= before, "threads of other tests may end meanwhile, its own must not stay"
    assert stream.getvalue() == "a\na\na\n"


def test_at_the_interpreters_end_a_line_is_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    Sink(stream).write("last words\n")
    assert stream.getvalue() == "last words\n"
