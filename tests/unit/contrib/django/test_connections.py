"""Connections are closed in the thread of the handler, before and after it."""

from __future__ import annotations

import threading
import time

import django.db
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import close_old_connections, connection

from tasuki.contrib.django import connections
from tasuki.contrib.django.config import DjangoConfig
from tasuki.contrib.django.project import make_app, project_app
from tasuki.testing import TestApp
from tests.support.django_site.tasks import seen, send, send_async


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The thread of each closing, and how much the tasks had noted before."""
    told: list[tuple[int, int]] = []

    def close() -> None:
        told.append((threading.get_ident(), len(seen)))
        close_old_connections()

    monkeypatch.setattr(connections, "close_old_connections", close)
    return told


def test_around_a_plain_function_in_its_thread(closed: list[tuple[int, int]]) -> None:
    with TestApp(project_app()) as twin:
        send.send("ada")
        assert twin.sync.drain().done == 1
    [(to, thread, answer)] = seen
    assert (to, answer) == ("ada", (1,))
    assert closed == [(thread, 0), (thread, 1)]
    assert thread != threading.get_ident()


def test_connections_of_an_interrupted_function_are_closed(
    closed: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr(django.db.connections, "close_all", lambda: told.append(threading.get_ident()))
    threads: list[int] = []
    app = make_app(DjangoConfig("memory://"))
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1})

    @jobs.task(handler_timeout="50ms")
    def late() -> None:
        threads.append(threading.get_ident())
        while True:
            time.sleep(0.001)

    with TestApp(app) as twin:
        twin.sync.publish(jobs, {}, {"message_type": "late"})
        assert twin.sync.drain().dead == 1
    assert told == threads
    assert [thread for thread, _ in closed] == threads  # before it alone


def test_around_an_async_function_in_the_thread_of_the_database(closed: list[tuple[int, int]]) -> None:
    with TestApp(project_app()) as twin:
        send_async.send("ada")
        assert twin.sync.drain().done == 1
    assert [before for _, before in closed] == [0, 1]
    assert len({thread for thread, _ in closed}) == 1


def test_an_async_function_leaves_the_connection_of_those_that_run_beside_it(closed: list[tuple[int, int]]) -> None:
    async def use_while_another_ends() -> list[bool]:
        was_there = []

        async def inner() -> None: ...

        @sync_to_async
        def is_open() -> bool:
            connection.ensure_connection()
            return connection.connection is not None

        async def outer() -> None:
            was_there.append(await is_open())
            await connections.closing_connections(inner)()
            was_there.append(await sync_to_async(lambda: connection.connection is not None)())

        await connections.closing_connections(outer)()
        was_there.append(await sync_to_async(lambda: connection.connection is not None)())
        return was_there

    assert async_to_sync(use_while_another_ends)() == [True, True, False]
    assert len(closed) == 2


def test_a_call_without_a_worker_closes_nothing(closed: list[tuple[int, int]]) -> None:
    send("ada")
    assert closed == []
