from __future__ import annotations

import threading

import pytest

from tasuki.backoff import Backoff
from tasuki.system.threads import HelperThread, problems

QUICK = Backoff(initial_delay=0.001, max_delay=0.002)


def test_one_that_fails_begins_again_and_is_known_until_it_works(caplog: pytest.LogCaptureFixture) -> None:
    tries, known, go_on, end = [], [], threading.Event(), threading.Event()

    def work(helper: HelperThread) -> None:
        tries.append(1)
        known.append(dict(problems()).get("tasuki test"))
        if len(tries) < 4:
            raise OSError("Too many open files")
        helper.works()
        go_on.set()
        end.wait(30)

    caplog.set_level("INFO", "tasuki")
    helper = HelperThread("tasuki test", work, QUICK)
    helper.start()
    assert go_on.wait(30)
    assert known == [None] + ["OSError: Too many open files"] * 3
    assert "tasuki test" not in problems()
    assert caplog.text.count("thread 'tasuki test' failed, starts again in") == 3
    assert "works again" in caplog.text
    end.set()
    helper.stop()


def test_one_that_cannot_begin_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    helper = HelperThread("tasuki test", lambda helper: None, QUICK)
    helper.problem = "OSError: of before"
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError):
        helper.start()
    assert "tasuki test" not in problems()


def test_one_that_fails_before_its_start_returns_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    begin, failed, known = threading.Thread.start, threading.Event(), []

    def start_and_fail(thread: threading.Thread) -> None:
        begin(thread)
        assert failed.wait(30)

    def work(helper: HelperThread) -> None:
        if helper.problem:
            known.append(dict(problems()).get("tasuki test"))
            failed.set()
            return
        raise OSError("at once")

    helper = HelperThread("tasuki test", work, QUICK)
    monkeypatch.setattr(threading.Thread, "start", start_and_fail)
    helper.start()
    assert known == ["OSError: at once"]
    helper.stop()


def test_one_that_is_stopped_does_not_begin_again() -> None:
    tried, tries = threading.Event(), []

    def work(helper: HelperThread) -> None:
        tries.append(1)
        tried.set()
        raise OSError("no")

    helper = HelperThread("tasuki test", work, Backoff(initial_delay=3600, max_delay=3600))
    helper.start()
    assert tried.wait(30)
    helper.stop()
    while any(thread.name == "tasuki test" for thread in threading.enumerate()):
        pass
    assert tries == [1]
    assert "tasuki test" not in problems()


def test_one_that_returns_has_ended() -> None:
    ended = threading.Event()
    HelperThread("tasuki test", lambda helper: ended.set(), QUICK).start()
    assert ended.wait(30)
    while any(thread.name == "tasuki test" for thread in threading.enumerate()):
        pass
    assert "tasuki test" not in problems()
