"""Sending files: what becomes of each line, also when the queue or the broker says no."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import click
import pytest

from tasuki.cli.commands.queues import publish
from tasuki.cli.commands.queues.publish import Report, read_header, send_file
from tasuki.cli.exits import CommandError
from tasuki.contracts.values import Durability
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, QueueFullError
from tasuki.queues.result import Confirmed, PublishResult, Rejected, Unknown
from tests.unit.cli.conftest import CommandLine

pytestmark = pytest.mark.anyio


class FakeQueue:
    """Answers each body as a function says, and remembers the batches."""

    def __init__(self, answer: Callable[[Any], PublishResult]) -> None:
        self._answer = answer
        self.batches: list[list[Any]] = []

    async def publish_many(self, items: Sequence[Any]) -> list[PublishResult]:
        self.batches.append(list(items))
        return [self._answer(item) for item in items]


def confirm(body: Any) -> PublishResult:
    return Confirmed("id", "power")


async def send(path: Path, answer: Callable[[Any], PublishResult] = confirm) -> tuple[Report, list[list[Any]]]:
    queue = FakeQueue(answer)
    return await send_file(queue, str(path), int), queue.batches  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "lines"
    path.write_text("".join(f"{number}\n" for number in range(1, 2501)))
    return path


async def test_batches_of_a_thousand(file: Path) -> None:
    report, batches = await send(file)
    assert [len(batch) for batch in batches] == [1000, 1000, 500]
    assert (report.confirmed, report.durability, report.problems) == (2500, "power", [])


async def test_batches_are_bounded_in_bytes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "BATCH_BYTES", 4000)
    _, batches = await send(file)
    assert [len(batch) for batch in batches] == [1000, 800, 700]  # a line has up to five bytes


async def test_rejected_and_unknown_have_their_lines(file: Path) -> None:
    def answer(body: int) -> PublishResult:
        if body == 7:
            return Rejected("seven", QueueFullError("full"), True)
        return Unknown("nine", BrokerTimeoutError("silence")) if body == 9 else confirm(body)

    report, _ = await send(file, answer)
    assert (report.confirmed, report.rejected, report.unknown) == (2498, 1, 1)
    assert [(problem["line"], problem["id"], problem["status"]) for problem in report.problems] == [
        (7, "seven", "rejected"),
        (9, "nine", "unknown"),
    ]


async def test_stops_where_the_broker_is_away(file: Path) -> None:
    def answer(body: int) -> PublishResult:
        return confirm(body) if body <= 1500 else Rejected("x", BrokerUnavailableError("gone"), True)

    report, batches = await send(file, answer)
    assert len(batches) == 2
    assert (report.confirmed, report.rejected, report.next_line) == (1500, 500, 2001)
    assert report.as_dict()["not_sent_from_line"] == 2001


async def test_problems_are_counted_beyond_those_that_are_kept(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "MAX_PROBLEMS", 3)
    report, _ = await send(file, lambda body: Rejected("x", QueueFullError("full"), True))
    assert (report.rejected, len(report.problems)) == (2500, 3)


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot read"):
        await send(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=1.5", 1.5),
        ("a=true", True),
        ("a=text", "text"),
        ('a="1"', "1"),
        ("a=", ""),
        ("a=b=c", "b=c"),
        ("a=null", "null"),
        ("a=[1]", "[1]"),
    ],
)
def test_headers(text: str, value: object) -> None:
    assert read_header(text) == ("a", value)


@pytest.mark.parametrize("text", ["a", "=1", ""])
def test_headers_that_are_none(text: str) -> None:
    with pytest.raises(click.BadParameter):
        read_header(text)


def test_options_hold_for_each_line(tasuki: CommandLine) -> None:
    lines = '{"body": 1, "priority": 3}\n{"body": 2}\n'
    options = ("--header", "source=cli", "--priority", "5")
    assert tasuki("publish", "tasks", "--file", "-", "--envelopes", *options, stdin=lines).returncode == 0
    assert tasuki("publish", "tasks", "--file", "-", "--raw", "text", "--key", "k", stdin="one\ntwo\n").returncode == 0
    assert tasuki("publish", "tasks", "--file", "-", "--raw", "bytes", stdin=b"\xff\n").returncode == 0
    shown = [
        (message.get("body"), message["headers"].get("priority"), message["headers"].get("source"))
        for message in tasuki.json("peek", "tasks")
    ]
    assert shown == [
        (2, 5, "cli"),
        (1, 3, "cli"),
        ("one", None, None),
        ("two", None, None),
        (None, None, None),
    ]


def test_what_does_not_go_together(tasuki: CommandLine) -> None:
    for wrong in (
        ["--file", "-", "1"],
        ["--file", "-", "--id", "x"],
        ["--file", "-", "--raw", "text", "--envelopes"],
        ["1", "--envelopes"],
        ["--raw", "text", "-"],
        ["1", "--header", "x"],
        ["1", "--priority", "10"],
        ["1", "--at", "2099-12-24T18:00Z", "--delay", "5s"],
    ):
        assert tasuki("publish", "tasks", *wrong, stdin=b"\xff").returncode == 2, wrong
    assert tasuki("publish", "tasks", "1", "--delay", "soon").returncode == 1
    assert tasuki("publish", "tasks", "1", "--header", "x_mine=1").returncode == 1


def test_a_message_comes_at_a_time(tasuki: CommandLine) -> None:
    assert tasuki("publish", "tasks", "1", "--at", "2099-12-24T18:00+09:00").returncode == 0
    assert tasuki("publish", "tasks", "2", "--at", "2001-12-24T18:00Z").returncode == 0
    lines = b'{"body": 3, "at": "2099-12-24T18:00:00Z"}'
    assert tasuki("publish", "tasks", "--file", "-", "--envelopes", stdin=lines).returncode == 0
    counts = tasuki.json("info", "tasks")
    assert (counts["ready"], counts["delayed"]) == (1, 2)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("2099-12-24T18:00", "has no time zone; write 2099-12-24T18:00Z for UTC, or an offset"),
        ("tomorrow", "write a date and a time, as in 2026-12-24T18:00+09:00"),
    ],
)
def test_a_time_that_is_none(tasuki: CommandLine, text: str, problem: str) -> None:
    done = tasuki("publish", "tasks", "1", "--at", text)
    assert done.returncode == 2
    assert problem in " ".join(done.stderr.split())


def test_many_problems_are_summed_up(tasuki: CommandLine) -> None:
    done = tasuki("publish", "tasks", "--file", "-", stdin="no\n" * 30)
    assert done.returncode == 1
    assert "line 20:" in done.stderr
    assert "line 21:" not in done.stderr
    assert "and 10 lines more" in done.stderr


def test_a_broker_that_is_away_is_exit_4_for_files_too(tasuki: CommandLine) -> None:
    away = ("-o", "app:driver:kind=queue.driver.redis", "-o", "app:driver:url=redis://127.0.0.1:1")
    done = tasuki("publish", "tasks", "--file", "-", *away, stdin="1\n")
    assert done.returncode == 4
    assert "from line 2 on" in done.stderr


@pytest.mark.parametrize("level", get_args(Durability))
def test_a_confirmation_says_in_words_what_the_message_survives(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    publish._show({"status": "confirmed", "id": "1", "queue": "app:mails", "durability": level})
    assert capsys.readouterr().out == f"1 confirmed by app:mails; it survives {publish._SURVIVED[level]}\n"
