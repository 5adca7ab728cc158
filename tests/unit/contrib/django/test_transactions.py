"""Messages that belong to a transaction of Django."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError

from tasuki.app.jobs import SyncJob
from tasuki.contrib.django.config import DjangoConfig
from tasuki.contrib.django.project import make_app, project_app
from tasuki.contrib.django.transactions import AfterCommit, DjangoSync, way_of
from tasuki.errors import (
    BodyTypeError,
    BrokerUnavailableError,
    LifecycleError,
    MessageTooLargeError,
    PublishError,
    QueueNotFoundError,
)
from tasuki.message import HeaderValue
from tasuki.queues.queue import Envelope
from tasuki.queues.result import Confirmed, Rejected
from tasuki.testing import TestApp
from tests.support.django_site.tasks import mails, send


@pytest.fixture
def twin() -> Iterator[TestApp]:
    with TestApp(project_app()) as twin:
        yield twin


SEND: dict[str, HeaderValue] = {"message_type": "send"}


def test_the_way_of_a_message() -> None:
    ways = {
        (now, joins, named): way_of(in_transaction=now, joins=joins, has_connection=named)
        for now, joins, named in product((False, True), repeat=3)
    }
    assert ways.pop((True, True, False)) == "within"
    assert ways.pop((True, False, False)) == "after"
    assert set(ways.values()) == {"now"}


def test_a_message_is_published_by_the_commit(twin: TestApp) -> None:
    with transaction.atomic():
        result = send.send("ada")
        assert isinstance(result, AfterCommit)
        assert twin.published(mails) == []
    assert [message.id for message in twin.messages(mails)] == [result.id]
    assert twin.published(mails) == [{"to": "ada"}]
    assert type(send.send("bob")) is SyncJob


def test_a_group_is_published_by_the_commit_too(twin: TestApp) -> None:
    sync = project_app().sync
    with transaction.atomic():
        started = sync.group([send.message("ada"), send.message("bob")], then=send.message("all"), id="g")
        empty = sync.group([], then=send.message("none"))
        assert twin.published(mails) == []
    assert [message.id for message in twin.messages(mails)] == [*started.members, f"group:{empty.id}"]
    with transaction.atomic():
        sync.group([send.message("dropped")], then=send.filled())
        transaction.set_rollback(True)
    with pytest.raises(MessageTooLargeError), transaction.atomic():
        sync.group([send.message("small")], then=send.message("x" * 2_000_000))
    twin.sync.drain()
    assert twin.published(mails) == [{"to": name} for name in ("ada", "bob", "none", "all")]
    assert sync.group([send.message("now")], then=mails.message({"to": "z"}, SEND)).members


def test_a_rollback_drops_it_and_so_does_the_one_of_a_savepoint(twin: TestApp) -> None:
    with transaction.atomic():
        send.send("kept")
        with transaction.atomic():
            send.send("dropped")
            transaction.set_rollback(True)
    assert twin.published(mails) == [{"to": "kept"}]


def test_what_is_wrong_with_a_message_is_told_before_the_commit(twin: TestApp) -> None:
    with transaction.atomic():
        with pytest.raises(BodyTypeError):
            send.send(1)  # type: ignore[arg-type]
        with pytest.raises(QueueNotFoundError):
            project_app().sync.publish("maisl", {})
        with pytest.raises(PublishError, match="attempts"):
            project_app().sync.publish("mails", {"to": "ada"}, {"attempts": 1})
        with pytest.raises(MessageTooLargeError):
            send.send("a" * 2**20)
        with pytest.raises(TypeError, match="write delay"):
            project_app().sync.publish("mails", {"to": "ada"}, countdown=5)  # type: ignore[call-arg]
    assert twin.published(mails) == []


def test_its_body_is_that_of_the_call(twin: TestApp) -> None:
    body = {"to": "ada"}
    headers: dict[str, HeaderValue] = {"message_type": "send", "n": 1}
    with transaction.atomic():
        project_app().sync.publish("mails", body, headers, id="m1")
        body["to"], headers["n"] = "eve", 2
    assert twin.messages(mails)[0].headers["n"] == 1
    assert twin.published(mails) == [{"to": "ada"}]
    assert twin.messages(mails)[0].id == "m1"


def test_many_messages_are_published_by_the_commit(twin: TestApp) -> None:
    with transaction.atomic():
        results = project_app().sync.publish_many(
            "mails", [Envelope[Any](body={"to": each}, headers=SEND, id=each) for each in "ab"]
        )
        assert [type(result) for result in results] == [AfterCommit, AfterCommit]
        assert twin.published(mails) == []
    assert [message.id for message in twin.messages(mails)] == [result.id for result in results]
    assert results[1].id == "b"


def test_an_item_that_is_not_valid_is_rejected_before_the_commit(twin: TestApp) -> None:
    with transaction.atomic():
        results = project_app().sync.publish_many(
            "mails", [Envelope(body={"to": "a"}, headers=SEND), Envelope(body={}, headers=SEND, delay="soon", id="b")]
        )
        assert [type(result) for result in results] == [AfterCommit, Rejected]
        assert results[1].id == "b"
    assert twin.published(mails) == [{"to": "a"}]


def test_a_transaction_by_hand_publishes_nothing_before_its_commit(twin: TestApp) -> None:
    transaction.set_autocommit(False)
    try:
        with pytest.raises(TransactionManagementError, match="on_commit"):
            send.send("ada")
        assert (
            type(DjangoSync(project_app(), "default").publish("mails", {"to": "bob"}, SEND)) is SyncJob
        )  # a part of it
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert twin.published(mails) == [{"to": "bob"}]


def test_a_publish_that_fails_after_the_commit_is_raised(twin: TestApp) -> None:
    def publish_while_away(*, many: bool) -> None:
        twin.broker_away("1m")
        with transaction.atomic():
            if many:
                project_app().sync.publish_many("mails", [Envelope[Any](body={"to": "ada"}, headers=SEND)])
            else:
                send.send("ada")

    for many in (False, True):
        with pytest.raises(BrokerUnavailableError):
            publish_while_away(many=many)
    assert not connection.in_atomic_block


def test_a_connection_of_the_caller_and_publish_now_do_not_wait(twin: TestApp) -> None:
    sync = project_app().sync
    assert isinstance(sync, DjangoSync)
    with transaction.atomic():
        sync.publish("mails", {"to": "ada"}, SEND, connection=object())
        sync.publish_now("mails", {"to": "bob"}, SEND)
        assert twin.published(mails) == [{"to": "ada"}, {"to": "bob"}]


def test_where_the_driver_shares_the_database_a_message_is_stored_by_the_transaction(twin: TestApp) -> None:
    sync = DjangoSync(project_app(), "default")  # a twin takes part, at once
    with transaction.atomic():
        assert type(sync.publish("mails", {"to": "ada"}, SEND)) is SyncJob
        assert twin.published(mails) == [{"to": "ada"}]
        assert [
            type(each) for each in sync.publish_many("mails", [Envelope[Any](body={"to": "bob"}, headers=SEND)])
        ] == [Confirmed]


def test_an_async_view_publishes_in_the_thread_of_the_database(twin: TestApp) -> None:
    @sync_to_async
    def store() -> Confirmed:
        with transaction.atomic():
            return send.send("bob")

    async def view() -> list[Confirmed]:
        with pytest.raises(LifecycleError, match=r"would block the event loop: .*await sync_to_async\("):
            send.send("eve")
        return [await sync_to_async(send.send)("ada"), await store()]

    assert [type(each) for each in async_to_sync(view)()] == [SyncJob, AfterCommit]
    assert twin.published(mails) == [{"to": "ada"}, {"to": "bob"}]


def test_a_test_without_a_twin_does_not_reach_the_real_queues(twin: TestApp, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = DjangoSync(project_app(), "default")
    monkeypatch.setitem(connection.settings_dict, "NAME", "test_shop")
    sync.publish("mails", {"to": "ada"}, SEND)  # the twin's
    monkeypatch.setattr(project_app()._runtime, "owner", None)
    with pytest.raises(LifecycleError, match="'default' is 'test_shop' now, as in a test of Django"):
        sync.publish("mails", {"to": "ada"}, SEND)
    with pytest.raises(LifecycleError, match="with TestApp"):
        sync.publish_many("mails", [Envelope[Any](body={"to": "ada"}, headers=SEND)])
    monkeypatch.undo()


def test_a_test_without_a_twin_that_reaches_other_queues_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    app = make_app(DjangoConfig("memory://"))
    other = app.queue("other")
    monkeypatch.chdir(tmp_path)  # a file of that name is made
    monkeypatch.setitem(connection.settings_dict, "NAME", "test_shop")
    try:
        with transaction.atomic():
            connection.atomic_blocks[-1]._from_testcase = True
            waits = app.sync.publish(other, {})  # the transaction of a TestCase, which never commits
            transaction.set_rollback(True)
        assert repr(waits) == f"AfterCommit(id={waits.id!r}, queue='app:other', published at the commit)"
        assert caplog.messages == []
        app.sync.publish(other, {})
        app.sync.publish(other, {})
    finally:
        app.sync.close()
    (said,) = caplog.messages
    assert "'test_shop' now, as in a test of Django, and its messages go to the queues of the project: put" in said
