"""Consumers with batches in a TestApp."""

from __future__ import annotations

import pytest

from tasuki import App, Reject
from tasuki.errors import HandlerError
from tasuki.testing import TestApp


def make_app() -> tuple[App, list[list[int]]]:
    app = App("memory://")
    seen: list[list[int]] = []

    numbers = app.queue("numbers", dead_letter={"queue": "dead", "max_attempts": 2})

    @numbers.consumer(batch={"size": 3, "wait": "30d"})
    async def take(numbers: list[int]) -> list[Exception | None]:
        seen.append(numbers)
        failures = {1: Reject("one"), 2: ValueError("two")}
        return [failures.get(number) for number in numbers]

    app.queue("dead")
    return app, seen


def test_a_batch_takes_what_is_there_and_waits_for_nothing() -> None:
    app, seen = make_app()
    with TestApp(app) as t:
        for number in range(4):
            t.sync.publish("numbers", number)
        drained = t.sync.drain()
        assert (drained.done, drained.failed, drained.dead) == (2, 2, 1)
        assert seen == [[0, 1, 2], [3]]
        t.sync.advance("1m")
        assert seen[2:] == [[2]]
        assert [(letter.body, letter.reason) for letter in t.dead] == [(1, "rejected"), (2, "max_attempts")]
        assert all(isinstance(letter.cause, Reject | ValueError) for letter in t.dead)
        t.idle()


def test_a_killed_worker_loses_the_whole_batch_and_gets_each_alone() -> None:
    app, seen = make_app()
    with TestApp(app) as t:
        for number in (5, 6, 7):
            t.sync.publish("numbers", number)
        t.kill_worker()
        t.sync.advance("1m")
        assert seen == [[5, 6, 7], [5], [6], [7]]
        t.idle()


def test_errors_of_single_messages_are_not_lost() -> None:
    def run() -> None:
        with TestApp(make_app()[0], strict=True) as t:
            t.sync.publish("numbers", 2)
            t.sync.drain()

    with pytest.raises(ValueError, match="two"):
        run()


def test_a_handler_of_batches_is_not_run_with_one_body() -> None:
    with (
        TestApp(make_app()[0]) as t,
        pytest.raises(HandlerError, match=r"take\.consumer calls app:take with a batch: give t\.run the list"),
    ):
        t.sync.run("take", 1)


def test_a_list_of_another_length_is_an_error_of_the_handler() -> None:
    app = App("memory://")

    @app.queue("numbers").consumer(batch={"size": 3})
    async def take(numbers: list[int]) -> list[None]:
        return [None]

    with TestApp(app) as t:
        for number in range(2):
            t.sync.publish("numbers", number)
        t.sync.drain()
        assert ["a list of 1 for a batch of 2" in str(failure.error) for failure in t.errors] == [True, True]
