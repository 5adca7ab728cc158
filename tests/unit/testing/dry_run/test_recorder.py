"""What a dry run writes down."""

from __future__ import annotations

import logging
import os
from typing import Any

import msgspec

from tasuki.testing.dry_run.recorder import MOST, Logs, Recorder, to_descriptor


class Lines:
    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.recorder = Recorder(self.lines.append)

    def read(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.lines]


def test_events_have_no_secrets_and_no_long_texts() -> None:
    lines = Lines()
    lines.recorder.add("publish", body={"password": "x", "a": object}, text="token=abc " * 1000, raw=b"\xff", n=1)
    lines.recorder.is_on = False
    lines.recorder.add("publish")
    lines.recorder.tell("end")
    first, second = lines.read()
    assert first["body"]["password"] == "***"
    assert "abc" not in first["text"]
    assert len(first["text"]) < 5000
    assert (first["n"], second) == (1, {"do": "end"})


def test_a_thousand_events_are_enough_but_the_outcome_comes() -> None:
    lines = Lines()
    for _ in range(MOST + 5):
        lines.recorder.add("log")
    lines.recorder.tell("outcome", outcome="ack")
    lines.recorder.ask(1, key="a")
    assert [event["do"] for event in lines.read()[MOST:]] == ["outcome", "ask"]


def test_logs_of_the_user_s_code_alone() -> None:
    lines = Lines()
    handler = Logs(lines.recorder)
    for name, text in (("shop", "a %s"), ("tasuki.consumer", "b %s"), ("tasuki.function.f", "c %s"), ("shop", "%d %d")):
        handler.emit(logging.LogRecord(name, logging.INFO, "", 0, text, ("x",), None))
    assert [event["text"] for event in lines.read()][:2] == ["a x", "c x"]
    assert lines.read()[2]["text"].startswith("'%d %d' (")


def test_a_line_is_written_whole() -> None:
    reading, writing = os.pipe()
    to_descriptor(writing)(b"line\n")
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert file.read() == b"line\n"
