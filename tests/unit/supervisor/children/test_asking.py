"""Questions to children; both ends of each socket pair are in this process."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tasuki.supervisor.children import answering, asking, frames
from tasuki.supervisor.children.answering import ParentAnswers
from tasuki.supervisor.children.asking import ChildAnswer, Children, SignOfLife, SilenceLimits, SilenceRule
from tasuki.supervisor.children.frames import Frame, Frames, encode

pytestmark = pytest.mark.anyio


class Waiting(socket.socket):
    """It says when its peer has not read for a while."""

    def __init__(self, within: socket.socket) -> None:
        super().__init__(fileno=within.detach())
        self.setblocking(True)
        self.has_waited = threading.Event()

    def send(self, data: Any, flags: int = 0, /) -> int:
        try:
            return super().send(data, flags)
        except BlockingIOError:
            self.has_waited.set()
            raise


class Parent(Children):
    """With children that are threads of this process."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[int, str, Any]] = []
        self.on_answer = lambda number, name, value: self.told.append((number, name, value))
        self.on_end = lambda number: self.told.append((number, "end", None))
        self.ends: dict[int, socket.socket] = {}

    def begin(self, number: int, **answers: Any) -> ParentAnswers:
        link = self.open(number)
        child = ParentAnswers(os.dup(link.child_end))
        self.ends[number] = socket.socket(fileno=os.dup(link.child_end))
        link.child_started()
        child.answers.update(answers)
        child.start()
        return child

    async def end(self, number: int) -> None:
        with self.ends.pop(number) as end:
            end.shutdown(socket.SHUT_RDWR)
            await self.close(number)


@asynccontextmanager
async def parent() -> AsyncIterator[Parent]:
    found = Parent()
    try:
        yield found
    finally:
        for number in list(found.ends):
            await found.end(number)


async def test_all_children_are_asked() -> None:
    async with parent() as ours:
        ours.begin(1, metrics=lambda: {"acked": 1})
        ours.begin(2, metrics=lambda: {"acked": 20})
        found = await ours.ask("metrics", timeout=30)
        assert {number: (answer.value, answer.problem) for number, answer in found.items()} == {
            1: ({"acked": 1}, ""),
            2: ({"acked": 20}, ""),
        }


async def test_a_question_has_arguments() -> None:
    async with parent() as ours:
        ours.begin(1, events=lambda consumer, most: [consumer] * most)
        found = await ours.ask("events", {"consumer": "app:mail", "most": 2}, timeout=30)
        assert found[1].value == ["app:mail", "app:mail"]


async def test_a_silent_child_counts_with_its_last_answer() -> None:
    go_on = threading.Event()
    async with parent() as ours:
        child = ours.begin(1, metrics=lambda: {"acked": 1})
        ours.begin(2, metrics=lambda: {"acked": 20})
        await ours.ask("metrics", timeout=30)
        child.answers["metrics"] = lambda: go_on.wait(30) and {"acked": 2}
        found = await ours.ask("metrics", timeout=0.01)
        assert (found[1].value, found[1].problem) == ({"acked": 1}, "it has not answered for 0.01 s")
        go_on.set()
        found = await ours.ask("metrics", timeout=30)
        assert (found[1].value, found[1].problem) == ({"acked": 2}, "")


async def test_a_late_answer_is_kept_for_the_next_time() -> None:
    go_on = threading.Event()
    async with parent() as ours:
        child = ours.begin(1, metrics=lambda: go_on.wait(30) and {"acked": 1})
        assert (await ours.ask("metrics", timeout=0.01))[1].value is None
        go_on.set()
        child.answers["next"] = lambda: "the answers arrive in the order of the questions"
        await ours.ask("next", timeout=30)
        del child.answers["metrics"]
        assert (await ours.ask("metrics", timeout=30))[1].value == {"acked": 1}


async def test_an_answer_about_something_else_is_not_taken_for_this_one() -> None:
    async with parent() as ours:
        child = ours.begin(1, events=lambda consumer: [consumer])
        await ours.ask("events", {"consumer": "app:mail"}, timeout=30)
        del child.answers["events"]
        found = await ours.ask("events", {"consumer": "app:images"}, timeout=30)
        assert found[1] == ChildAnswer(problem="NotYetError: there is no answer to 'events' yet")


async def test_a_child_that_cannot_answer_says_why(caplog: pytest.LogCaptureFixture) -> None:
    async with parent() as ours:
        child = ours.begin(1, metrics=lambda: 1 // 0, health=object, late=lambda: "yes")
        problem = (await ours.ask("metrics", timeout=30))[1].problem
        assert problem == "ZeroDivisionError: integer division or modulo by zero"
        assert "Encoding objects of type object is unsupported" in (await ours.ask("health", timeout=30))[1].problem
        assert (await ours.ask("late", timeout=30))[1].value == "yes"
        assert [record.message for record in caplog.records] == [
            "cannot answer 'metrics' of the parent process",
            "cannot answer 'health' of the parent process",
        ]
        assert child.answers


async def test_what_a_child_reports_at_its_end_is_told_before_its_end() -> None:
    async with parent() as ours:
        counts = [1]
        child = ours.begin(1, metrics=lambda: counts[0])
        await ours.ask("metrics", timeout=30)
        counts[0] = 7
        child.report("metrics")
        await ours.end(1)
        assert ours.told == [(1, "metrics", 1), (1, "metrics", 7), (1, "end", None)]
        assert await ours.ask("metrics") == {}


async def test_the_end_of_a_child_ends_its_questions() -> None:
    stays = threading.Event()
    async with parent() as ours:
        ours.begin(1, metrics=lambda: stays.wait(30))
        asked = asyncio.create_task(ours.ask("metrics", timeout=30))
        await asyncio.sleep(0)
        await ours.end(1)
        stays.set()
        assert (await asked)[1].problem == "it has ended"


async def test_a_child_that_answers_nothing_gets_no_more_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_MOST_OPEN", 3)
    stays = threading.Event()
    async with parent() as ours:
        ours.begin(1, metrics=lambda: stays.wait(30))
        problems = [(await ours.ask("metrics", timeout=0.001))[1].problem for _ in range(4)]
        assert problems[3] == "it has not answered the last 3 questions"
        stays.set()


async def test_a_parent_that_was_suspended_reads_the_rest_of_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "_PATIENCE", struct.pack("ll", 0, 1000))
    ours, theirs = socket.socketpair()
    with ours:
        child = ParentAnswers(theirs.detach())
        child._socket = waiting = Waiting(child._socket)
        child.answers["metrics"] = lambda: "x" * 2**20
        child.start()
        for number in (1, 2):
            ours.sendall(encode(number, "metrics", {}))
        assert waiting.has_waited.wait(30), "for a reader that does not read"
        frames, found = Frames(), list[Frame]()
        while len(found) < 2:
            found += frames.feed(ours.recv(2**20))
        assert [(each.number, len(each.value)) for each in found] == [(1, 2**20), (2, 2**20)]


async def test_a_child_that_ends_does_not_wait_for_a_parent_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "_PATIENCE", struct.pack("ll", 0, 1000))
    ours, theirs = socket.socketpair()
    with ours:
        child = ParentAnswers(theirs.detach())
        child._socket = waiting = Waiting(child._socket)
        child.answers["metrics"] = lambda: "x" * 2**20
        child.start()
        ours.sendall(encode(1, "metrics", {}))
        assert waiting.has_waited.wait(30)
        child.report("metrics")
        child.stop()


async def test_the_end_of_the_parent_is_told_once() -> None:
    ended = threading.Event()
    ours = Children()
    link = ours.open(1)
    child = ParentAnswers(os.dup(link.child_end), ended.set)
    child.start()
    await ours.close(1)
    assert ended.wait(30)


async def test_a_stopped_child_sends_nothing_more() -> None:
    async with parent() as ours:
        child = ours.begin(1, metrics=lambda: 1)
        child.stop()
        assert (await ours.ask("metrics", timeout=0.01))[1].value is None


def test_frames_arrive_whole_from_any_pieces() -> None:
    sent = [Frame(1, "metrics", {}), Frame(0, "health", {"live": True}), Frame(2**40, "", [1, "x", None])]
    stream = b"".join(encode(*frame) for frame in sent)
    for size in (1, 3, 4, 5, 64, len(stream)):
        joined = Frames()
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        assert [frame for piece in pieces for frame in joined.feed(piece)] == sent


def test_a_broken_stream_is_an_error() -> None:
    with pytest.raises(ValueError, match="a frame of 4294967295 bytes is announced"):
        list(Frames().feed(b"\xff\xff\xff\xff"))


def test_a_document_that_no_frame_holds_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="bytes are more than a frame holds"):
        encode(1, "", "x" * 20)


RULE = SilenceLimits(silent=30.0, busy=300.0, look=2.0)


def watched(rule: SilenceRule, until: float, heard: dict[int, SignOfLife], begin: float = 0.0) -> dict[int, float]:
    """Look every two seconds; what the last check found."""
    found: dict[int, float] = {}
    for step in range(int((until - begin) / 2) + 1):
        found = rule.frozen(begin + 2 * step, heard)
    return found


def test_a_child_is_frozen_after_its_silence_and_not_before() -> None:
    heard = {1: SignOfLife(0.0), 2: SignOfLife(0.0)}
    rule = SilenceRule(RULE)
    assert watched(rule, 28.0, heard) == {}
    heard[2] = SignOfLife(28.0)
    assert rule.frozen(30.0, heard) == {1: 30.0}
    assert rule.frozen(32.0, heard) == {1: 32.0}


def test_a_child_that_starts_has_more_time() -> None:
    heard = {1: SignOfLife(0.0, is_first=True)}
    assert watched(SilenceRule(RULE), 298.0, heard) == {}
    assert watched(SilenceRule(RULE), 300.0, heard) == {1: 300.0}


def test_a_child_that_computes_has_more_time_until_it_stops_computing() -> None:
    rule, heard = SilenceRule(RULE), {1: SignOfLife(0.0)}
    for now in range(0, 300, 2):
        assert rule.frozen(now, heard, {1: now / 100}) == {}
    assert rule.frozen(300.0, heard, {1: 3.0}) == {1: 300.0}
    rule = SilenceRule(RULE)
    for now in range(0, 100, 2):
        assert rule.frozen(now, heard, {1: min(now, 60) / 100}) == ({1: now} if now >= 90 else {})


def test_silence_while_this_process_was_suspended_does_not_count() -> None:
    rule, heard = SilenceRule(RULE), {1: SignOfLife(0.0)}
    watched(rule, 10.0, heard)
    assert watched(rule, 1028.0, heard, begin=1000.0) == {}
    assert rule.frozen(1030.0, heard) == {1: 30.0}
