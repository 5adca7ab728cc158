"""Edit and retry of one dead letter, on the memory driver."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.app.typed.entries import SigningFields
from tasuki.contracts.driver import Outgoing
from tasuki.dead.editing.problems import EditError, Problem
from tasuki.errors import PolicyDeniedError, QueueNotFoundError
from tasuki.message import HeaderValue
from tests.unit.dead.editing.letters import bury, only

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


@dataclass
class Order:
    user: int
    tags: list[str]


async def take(order: Order) -> None: ...


async def anything(body: Any) -> None: ...


async def pay(amount: int, currency: str = "eur") -> None: ...


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    app = make_app()
    app.queue("dead")
    app.queue("orders", dead_letter="dead").consumer(take)
    app.queue("any", dead_letter="dead", max_message_size="1KiB").consumer(anything)
    app.queue("typed", Order, dead_letter="dead")
    tasks = app.queue("tasks", dead_letter="dead")
    tasks.task(name="pay")(pay)
    app.queue("free", dead_letter="dead")
    return app


async def test_the_edited_letter_is_a_new_message_and_the_old_one_is_gone(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tasuki.edit")
    async with app:
        await bury(app, b'{"user":"7","tags":[]}', {"tenant": "acme", "odd": 1, "x_trace": "00-aa-bb-01"})
        done = await app.dead.edit("dead", "m", body=Order(7, ["a"]), headers={"odd": None, "new": 2}, actor="kana")
        assert await app._runtime.queue("dead").peek() == []
        message = await only(app, "orders")
        assert (await app._runtime.queue("orders").depth()).ready == 1
    assert (done.id, done.queue, done.edited_from, done.is_kept) == (message.id, "app:orders", "m", False)
    assert message.id != "m"
    assert message.body == b'{"user":7,"tags":["a"]}'
    headers = {name: value for name, value in message.headers.items() if name != "x_due"}
    assert headers == {
        "content_type": "json/plain",
        "timestamp": 1_700_000_000,
        "tenant": "acme",
        "new": 2,
        "x_edited_by": "kana",
        "x_edited_from": "m",
        "x_redriven": 1,
    }
    assert "edited message m of app:dead" in caplog.text


async def test_a_text_keeps_its_digits_and_an_unchanged_one_its_bytes(app: App) -> None:
    odd = b'{"a": 1e300,\n"b":1.10, "c":1208925819614629174706176, "a":2}'
    async with app:
        await bury(app, odd, queue="app:free")
        await app.dead.edit("dead", "m", headers={"tenant": "b"}, keep=True)
        assert (await only(app, "free")).body == odd
        await app._runtime.queue("free").purge()
        await app.dead.edit(
            "dead", "m", text='{"a": 1e300, "b": 1.20, "c": 1208925819614629174706176, "a": 2}', keep=True
        )
        assert (await only(app, "free")).body == b'{"a":1e300,"b":1.20,"c":1208925819614629174706176,"a":2}'


async def test_a_kept_letter_stays_as_it_is(app: App) -> None:
    async with app:
        await bury(app, b"1", queue="app:free")
        before = await only(app, "dead")
        done = await app.dead.edit("dead", "m", body=2, keep=True)
        assert (await only(app, "dead"), done.is_kept) == (before, True)


async def test_it_may_go_to_another_queue(app: App) -> None:
    async with app:
        await bury(app, b"1", queue="other:gone")
        with pytest.raises(QueueNotFoundError, match="say where"):
            await app.dead.edit("dead", "m", body=2)
        with pytest.raises(QueueNotFoundError):
            await app.dead.edit("dead", "m", body=2, to="nowhere")
        assert (await app.dead.edit("dead", "m", body=2, to="free")).queue == "app:free"


@pytest.mark.parametrize(
    ("queue", "text", "headers", "problem"),
    [
        ("orders", '{"user": 1,\n"tags":\n["a", 2]}', {}, Problem("body", "Expected `str`, got `int`", 3)),
        ("typed", '{"user": 1,\n"tags":\n["a", 2]}', {}, Problem("body", "queue app:typed takes Order", 3)),
        ("orders", "{}", {}, Problem("body", "missing required field `user`", 0)),
        ("any", '"' + "a" * 2000 + '"', {}, Problem("body", "more than the max_message_size of app:any", 0)),
        ("any", "1e400", {}, Problem("body", "Number out of range", 0)),
        ("tasks", '{"amount": "x"}', {"message_type": "pay"}, Problem("body", "Expected `int`, got `str`", 1)),
        ("tasks", '{"amount": 1}', {"message_type": "pya"}, Problem("header.message_type", "did you mean 'pay'", 0)),
        ("tasks", '{"amount": 1}', {}, Problem("header.message_type", "it names no task", 0)),
        ("free", "1", {"x_cause": "a"}, Problem("header.x_cause", "only Tasuki sets it", 0)),
    ],
)  # fmt: skip
async def test_what_the_handler_could_not_read_is_refused_and_nothing_moves(
    app: App, queue: str, text: str, headers: dict[str, HeaderValue], problem: Problem
) -> None:
    async with app:
        await bury(app, b"null", queue=f"app:{queue}")
        before = await only(app, "dead")
        with pytest.raises(EditError) as caught:
            await app.dead.edit("dead", "m", text=text, headers=headers)
        [found] = caught.value.problems
        assert (found.field, found.line) == (problem.field, problem.line)
        assert problem.text in found.text
        assert await only(app, "dead") == before
        assert await app._runtime.queue(queue).peek() == []


async def test_all_problems_come_at_once(app: App) -> None:
    async with app:
        await bury(app, b"1", queue="app:free")
        with pytest.raises(EditError) as caught:
            await app.dead.edit("dead", "m", text="{", headers={"attempts": 2, "a\nb": 2})
    assert [problem.field for problem in caught.value.problems] == ["header.attempts", "header.'a\\nb'", "body"]


async def test_a_task_gets_its_arguments_and_a_sensitive_header_a_warning(app: App) -> None:
    async with app:
        await bury(app, b'{"amount":"x"}', {"message_type": "pay", "reply_to": "app:free"}, queue="app:tasks")
        done = await app.dead.edit("dead", "m", text='{"amount": 3}', headers={"reply_to": None})
        assert (await only(app, "tasks")).headers["message_type"] == "pay"
    assert done.warnings == ("reply_to: the reply of its handler goes to this queue",)


async def test_priority_and_key_are_the_message_s_own_again(app: App) -> None:
    async with app:
        await bury(app, b"1", {"priority": 2, "partition_key": "k"}, queue="app:free")
        await app.dead.edit("dead", "m", headers={"priority": 9})
        [taken] = await app._runtime.queue("free").driver.receive("free", 1, 0.0)
    assert (taken.headers["priority"], taken.headers["partition_key"]) == (9, "k")


PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: memory, kind: queue.driver.memory}
  - {name: dead, kind: queue.queue, driver: memory}
  - {name: free, kind: queue.queue, driver: memory, dead_letter: dead}
  - name: config
    kind: security.config
    strict: true
    application: {actor: {id: shop}, policies: [most]}
  - name: most
    kind: security.policy
    policy: {actions: ACTIONS, resources: "*", effect: allow}
"""


@pytest.mark.parametrize(
    ("actions", "says"),
    [
        ('["queue.publish.*", queue.admin.redrive]', "not allowed to edit messages of queue: app:dead"),
        ("queue.admin.edit", "not allowed to publish to queue: app:free"),
        ('["queue.publish.*", queue.admin.edit]', ""),
    ],
)
async def test_the_application_needs_the_rights_to_edit_and_to_publish(tmp_path: Path, actions: str, says: str) -> None:
    (tmp_path / "app.yaml").write_text(PROJECT.replace("ACTIONS", actions))
    async with App.load(tmp_path) as app:
        live = app._runtime.live().queue("app:dead")
        await live.forward([Outgoing("m", b"1", {"x_original_queue": "app:free"})])
        if not says:
            await app.dead.edit("app:dead", "m", body=2)
            [message] = await live.driver.peek("free", 1)
            assert message.headers["x_edited_by"] == "shop"
            return
        with pytest.raises(PolicyDeniedError, match=says):
            await app.dead.edit("app:dead", "m", body=2)
        assert [message.id for message in await live.driver.peek("dead", 1)] == ["m"]


async def test_a_letter_that_is_not_there(app: App) -> None:
    async with app:
        with pytest.raises(LookupError, match="no message 'm' waits in app:dead"):
            await app.dead.edit("dead", "m", body=1)
        with pytest.raises(TypeError, match="not both"):
            await app.dead.edit("dead", "m", body=1, text="1")


async def test_a_letter_that_leaves_meanwhile_is_not_sent_twice(app: App) -> None:
    from tasuki.dead.editing.building import Wanted
    from tasuki.dead.editing.edit import Editor
    from tasuki.dead.editing.undo import edit_of, edited_into

    async with app:
        await bury(app, b"1", queue="app:free")
        editor = Editor(app._runtime.live(), "app:dead", clock=app._runtime.clock, actor="kana")
        draft = await editor.draft("m")
        made, late = await editor.check(draft, Wanted(body=2)), await editor.check(draft, Wanted(body=3))
        first = await editor.send(draft, made)
        with pytest.raises(LookupError, match="not in app:dead any more"):
            await editor.send(draft, late)
        assert (await only(app, "free")).id == first.id == made.message.id
        live = app._runtime.live()
        assert await edited_into(live, "app:dead", "m") == first.id
        assert await edit_of(live, "app:dead", late.message.id) is None, "what was not sent is not recorded"


async def test_an_edit_between_two_drivers_is_published_before_it_is_acked(make_app: Callable[..., App]) -> None:
    app = make_app()
    app.queue("dead")
    app.queue("far", driver=app.entry("other", "queue.driver.memory"), dead_letter="dead")
    async with app:
        await bury(app, b"1", queue="app:far")
        done = await app.dead.edit("dead", "m", body=2)
        assert (await only(app, "far")).body == b"2"
        assert (await app._runtime.queue("dead").peek(), done.is_undoable) == ([], False)


async def test_a_full_queue_leaves_the_letter_where_it_is(make_app: Callable[..., App]) -> None:
    app = make_app()
    app.queue("dead")
    app.queue("full", dead_letter="dead", max_length=1, overflow="reject")
    async with app:
        await app.publish("full", 1)
        await bury(app, b"1", queue="app:full")
        before = await only(app, "dead")
        with pytest.raises(Exception, match="full"):
            await app.dead.edit("dead", "m", body=2)
        assert await only(app, "dead") == before


KEYS: SigningFields = {"keys": [{"id": "k", "secret": "a-secret-of-some-length"}]}


async def test_a_signed_letter_is_signed_again_by_a_process_with_the_key(make_app: Callable[..., App]) -> None:
    app = make_app()
    app.queue("dead")
    app.queue("free", dead_letter="dead")
    signed = app.queue("signed", dead_letter="dead", signing=KEYS)
    async with app:
        await signed.publish({"n": 1}, id="m")
        letter = await only(app, "signed")
        await app._runtime.queue("signed").purge()
        await bury(app, letter.body, {**letter.headers}, queue="app:signed")
        await app.dead.edit("dead", "m", body={"n": 2})
        message = await only(app, "signed")
        signer = app._runtime.live().queue("app:signed").signer
        assert signer is not None
        assert signer.verify(message) is None
        await app._runtime.queue("signed").purge()

        await bury(app, b'{"n":3}', {**letter.headers}, queue="app:signed")  # forged
        with pytest.raises(EditError, match=r"signature is wrong.*publish a new message"):
            await app.dead.edit("dead", "m", body={"n": 2})
        await app._runtime.queue("dead").purge()
        await bury(app, b'{"n":3}', queue="app:signed")
        with pytest.raises(EditError, match="it has no signature"):
            await app.dead.edit("dead", "m", body={"n": 2})
        await app._runtime.queue("dead").purge()
        await bury(app, letter.body, {**letter.headers}, queue="app:free")
        with pytest.raises(EditError, match="no key of its queue"):
            await app.dead.edit("dead", "m", body={"n": 2})
        await app._runtime.queue("dead").purge()
        await bury(app, letter.body, queue="app:free")
        with pytest.raises(EditError, match="came without a signature"):
            await app.dead.edit("dead", "m", body={"n": 2}, to="signed")


async def test_a_compressed_letter_is_compressed_again(make_app: Callable[..., App]) -> None:
    app = make_app()
    app.queue("dead")
    app.queue("packed", dead_letter="dead", compress={"method": "gzip", "above": 100})
    async with app:
        body = b'"' + b"a" * 200 + b'"'
        await bury(app, gzip.compress(body), {"content_type": "json/plain+gzip"}, queue="app:packed")
        await app.dead.edit("dead", "m", text=f'"{"b" * 300}"', keep=True)
        message = await only(app, "packed")
        assert gzip.decompress(message.body) == b'"' + b"b" * 300 + b'"'
        assert message.headers["content_type"] == "json/plain+gzip"
        await app._runtime.queue("packed").purge()
        await app.dead.edit("dead", "m", text="1", keep=True)
        message = await only(app, "packed")
        assert (message.body, message.headers["content_type"]) == (b"1", "json/plain")
        await app._runtime.queue("packed").purge()
        await app.dead.edit("dead", "m", headers={"a": 1}, keep=True)
        assert (await only(app, "packed")).headers["content_type"] == "json/plain+gzip"
        await app._runtime.queue("dead").purge()
        await bury(app, b"no gzip", {"content_type": "json/plain+gzip"}, queue="app:packed")
        with pytest.raises(EditError, match="not gzip"):
            await app.dead.edit("dead", "m", headers={"a": 1})
        await app.dead.edit("dead", "m", body=1)


async def test_messagepack_and_bytes(make_app: Callable[..., App]) -> None:
    app = make_app()
    app.queue("dead")
    app.queue("packed", dead_letter="dead", codec="msgpack").consumer(take)
    async with app:
        await bury(app, b"\x81\xa4user\xa1a", {"content_type": "application/msgpack"}, queue="app:packed")
        with pytest.raises(EditError, match="body, line 1: queue app:packed takes Order: Expected `int`"):
            await app.dead.edit("dead", "m", text='{"user": "a", "tags": []}')
        await app.dead.edit("dead", "m", text='{"user": 1, "tags": []}', keep=True)
        assert (await only(app, "packed")).body == b"\x82\xa4user\x01\xa4tags\x90"
        await app._runtime.queue("packed").purge()
        await app.dead.edit("dead", "m", body=b"\x82\xa4user\x02\xa4tags\x90", keep=True)
        assert (await only(app, "packed")).body == b"\x82\xa4user\x02\xa4tags\x90"
        with pytest.raises(EditError, match="body"):
            await app.dead.edit("dead", "m", body=b"\xc1")


async def test_a_body_of_a_megabyte_and_one_that_is_nested_deep(app: App) -> None:
    async with app:
        big = b'"' + b"\xe2\x80\xae" * 349_000 + b'"'
        await bury(app, big, queue="app:free")
        await app.dead.edit("dead", "m", headers={"a": 1}, keep=True)
        assert (await only(app, "free")).body == big
        with pytest.raises(EditError, match="max_message_size"):
            await app.dead.edit("dead", "m", text=f'"{"a" * 2**20}"')
        with pytest.raises(EditError, match="nested too deep"):
            await app.dead.edit("dead", "m", text="[" * 10_000 + "]" * 10_000)
