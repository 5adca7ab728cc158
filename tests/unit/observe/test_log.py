import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tasuki.observe.log import DeliveryLogger, JsonFormatter, LogHandler, TextFormatter, configure
from tests.unit.observe.test_plain import Hostile


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.fixture(autouse=True)
def root() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield root
    for handler in root.handlers:
        if isinstance(handler, LogHandler):
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def record(message: object = "hello", *args: object, exc_info: Any = None, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("app").makeRecord(
        "app.mail", logging.INFO, "file.py", 1, message, args, exc_info, extra=extra
    )
    made.created, made.msecs = 1_700_000_000.123, 123.0
    return made


def failure(error: Exception) -> Any:
    try:
        raise error
    except Exception:
        return sys.exc_info()


def as_json(made: logging.LogRecord) -> dict[str, Any]:
    line = JsonFormatter().format(made)
    assert "\n" not in line
    assert line.isascii()
    result: dict[str, Any] = json.loads(line)
    return result


def as_text(made: logging.LogRecord) -> str:
    return TextFormatter().format(made)


class TestJson:
    def test_a_record(self) -> None:
        made = record("sent %s", "mail", attempt=2, queue="app:tasks", order={"id": 5}, trace=None)
        assert as_json(made) == {
            "time": "2023-11-14T22:13:20.123Z",
            "level": "info",
            "logger": "app.mail",
            "message": "sent mail",
            "queue": "app:tasks",
            "attempt": 2,
            "order": {"id": 5},
        }
        assert list(as_json(made))[4:] == ["queue", "attempt", "order"]

    def test_an_error_is_one_field(self) -> None:
        made = as_json(record("failed", exc_info=failure(ValueError("password=hunter2"))))
        assert made["error"].startswith("Traceback")
        assert made["error"].endswith("ValueError: password=***")

    def test_fields_cannot_replace_what_is_fixed(self) -> None:
        assert as_json(record("x", level="forged"))["level"] == "info"


class TestText:
    def test_a_record(self) -> None:
        line = as_text(record("sent", queue="app:tasks", attempt=2, note="two words", empty="", data={"a": 1}))
        assert line.split(" ", 1)[1] == (
            'INFO    app.mail: sent  queue=app:tasks attempt=2 note="two words" empty="" data={"a": 1}'
        )

    def test_without_fields(self) -> None:
        assert as_text(record("sent")).endswith("app.mail: sent")

    def test_colour(self) -> None:
        assert "\x1b[32mINFO   \x1b[0m" in TextFormatter(has_colour=True).format(record())
        made = record()
        made.levelname = "NOTICE"
        assert "\x1b" not in TextFormatter(has_colour=True).format(made)

    def test_nothing_in_it_can_forge_a_line(self) -> None:
        made = record("a\n12:00:00 INFO b", user="\x1b[2J\r\nx", exc_info=failure(ValueError("a\n12:00 INFO forged")))
        head, *rest = as_text(made).split("\n")
        assert r"a\n12:00:00 INFO b  user=\x1b[2J\r\nx" in head
        assert all(line.startswith("    ") for line in rest)
        assert "\x1b" not in as_text(made)


class TestHostileRecords:
    @pytest.mark.parametrize("render", [as_json, as_text])
    def test_any_object(self, render: Callable[[logging.LogRecord], Any]) -> None:
        for made in (
            record("%s", Hostile()),
            record("%d %d", "x"),
            record(Hostile()),
            record("x", thing=Hostile(), circle=[Hostile()]),
            record("x", exc_info=failure(HostileError())),
            record("x", exc_info=(None, None, None)),
        ):
            assert render(made)

    def test_wrong_arguments_keep_the_message(self) -> None:
        assert as_json(record("%d apples", "x"))["message"] == "%d apples <arguments: TypeError>"

    def test_an_error_whose_traceback_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = record("x", exc_info=failure(ValueError("v")))

        def fail(*args: object) -> None:
            raise RuntimeError

        monkeypatch.setattr("tasuki.observe.log.shown_traceback", fail)
        assert as_json(made)["error"] == "ValueError (its text raises RuntimeError)"

    def test_long_texts_are_cut(self) -> None:
        made = as_json(record("x" * 100_000, field="y" * 100_000, exc_info=failure(ValueError("z" * 100_000 + "end"))))
        assert "characters)" in made["message"]
        assert len(json.dumps(made)) < 60_000
        assert made["error"].startswith("…")
        assert made["error"].endswith("end")

    def test_the_stack_is_written(self) -> None:
        made = record("x")
        made.stack_info = "Stack (most recent call last):\n  here"
        assert as_json(made)["error"].endswith("here")


class TestConfigure:
    def test_text_with_colour_on_a_terminal(self, root: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NO_COLOR", raising=False)
        stream = Terminal()
        configure("debug", stream=stream)
        assert root.level == logging.DEBUG
        logging.getLogger("app").debug("hello")
        logging.getLogger().handlers[-1].flush()
        assert "\x1b[2mDEBUG  \x1b[0m app: hello\n" in stream.getvalue()

    def test_no_colour(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NO_COLOR", "1")
        handler = configure(stream=Terminal())
        assert "\x1b" not in handler.format(record())

    def test_json_elsewhere(self) -> None:
        stream = io.StringIO()
        handler = configure(logging.INFO, stream=stream)
        logging.getLogger("app").info("hello", extra={"queue": "q"})
        logging.getLogger("app").debug("not seen")
        handler.flush()
        assert [json.loads(line)["queue"] for line in stream.getvalue().splitlines()] == ["q"]

    def test_a_format_can_be_asked_for(self) -> None:
        assert isinstance(configure(format="json", stream=Terminal()).formatter, JsonFormatter)
        assert isinstance(configure(format="text").formatter, TextFormatter)

    def test_again_replaces_the_one_before(self, root: logging.Logger) -> None:
        configure(stream=io.StringIO())
        configure(stream=io.StringIO())
        assert sum(isinstance(handler, LogHandler) for handler in root.handlers) == 1


class TestHandler:
    def test_what_cannot_be_formatted_is_counted(self) -> None:
        handler = configure(stream=io.StringIO())

        class Broken(logging.Formatter):
            def format(self, record: logging.LogRecord) -> str:
                raise RuntimeError

        handler.setFormatter(Broken())
        handler.emit(record())
        assert handler.dropped == 1

    def test_what_cannot_be_written_is_counted(self) -> None:
        stream = io.StringIO()
        handler = configure(stream=stream)
        stream.close()
        handler.emit(record())
        handler.flush()
        assert handler.dropped == 1


class TestDeliveryLogger:
    def test_fields_are_asked_for_only_when_a_record_is_written(self, caplog: pytest.LogCaptureFixture) -> None:
        asked = []

        def fields() -> dict[str, Any]:
            asked.append(True)
            return {"queue": "q", "attempt": 1}

        logger = DeliveryLogger(logging.getLogger("app.delivery"), fields)
        with caplog.at_level(logging.INFO):
            logger.debug("not written")
            assert not asked
            logger.info("written", extra={"attempt": 2, "order": 5})
            logger.info("plain")
        assert as_json(caplog.records[0])["order"] == 5
        assert (as_json(caplog.records[0])["queue"], as_json(caplog.records[0])["attempt"]) == ("q", 2)
        assert as_json(caplog.records[1])["attempt"] == 1
