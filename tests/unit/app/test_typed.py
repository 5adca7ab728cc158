"""Queues with a body type: what a publish and a request accept, and what they say when they do not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest

from tasuki import App, Context, Envelope
from tasuki.errors import BodyTypeError, HandlerError, InvalidBodyError, InvalidEntryError, ProjectError
from tasuki.handlers.body import make_decoder
from tasuki.handlers.signature import body_of
from tasuki.queues.messages.body_type import BodyType, TypedMessageBuilder, type_name
from tasuki.queues.messages.message_builder import MessageBuilder
from tasuki.queues.result import Confirmed, Rejected
from tests.unit.app.project import Yaml

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

Make = Callable[..., App]


@dataclass
class Mail:
    to: str
    size: int = 0


@dataclass
class Order:
    photo: str


class Note(msgspec.Struct):
    text: str


class Model(pydantic.BaseModel):
    number: int


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        (Mail, [Mail("ada"), {"to": "ada"}, {"to": "ada", "size": 1}], [Note("x"), {"to": 1}, "ada", None, [], b"{}"]),
        (Note, [Note("x"), {"text": "x"}], [Mail("ada"), {}]),
        (Model, [Model(number=1), {"number": 1}], [Mail("ada"), {"number": "x"}]),
        (list[Mail], [[], [Mail("ada")], [{"to": "ada"}]], [[Note("x")], Mail("ada")]),
        (Mail | int, [Mail("ada"), 1], ["ada", Note("x")]),
        (int, [1], ["1", 1.5, True]),
        (dict, [{}], [[], 1]),
    ],
)
async def test_a_body_is_of_the_declared_type_or_reads_as_one(
    make_app: Make, type_: Any, good: list[Any], bad: list[Any]
) -> None:
    app = make_app()
    queue = app.queue("tasks", type_)
    async with app:
        for body in good:
            assert isinstance(await queue.publish(body), Confirmed)
            assert isinstance((await queue.publish_many([body, Envelope(body=body)]))[1], Confirmed)
        before = (await queue.depth()).ready
        for body in bad:
            with pytest.raises(BodyTypeError):
                await queue.publish(body)
            results = await queue.publish_many([body, Envelope(body=body)])
            assert all(isinstance(result, Rejected) and not result.retryable for result in results)
        assert (await queue.depth()).ready == before


async def test_the_error_names_the_queue_the_type_its_place_and_the_place_in_the_body(make_app: Make) -> None:
    app = make_app()
    queue, orders = app.queue("mails", Mail), app.queue("orders", Order)
    async with app:
        with pytest.raises(BodyTypeError) as caught:
            await app.publish("mails", {"to": "ada", "size": "large"})
        place = rf"{re.escape(__file__)}:\d+"
        assert re.fullmatch(
            rf"queue 'app:mails' takes Mail \(declared at {place}\), and this dict is not one: "
            r"Expected `int`, got `str` - at `\$\.size`; publish a Mail",
            str(caught.value),
        )
        with pytest.raises(BodyTypeError, match="; publish an Order"):
            await orders.publish({})  # type: ignore[arg-type]
        with pytest.raises(BodyTypeError, match="and this bytes is not one: bytes are not read as a type"):
            await queue.publish(b"{}")  # type: ignore[arg-type]
        with pytest.raises(BodyTypeError, match="and this JSON is not one"):  # as an API publishes
            await queue.publish(msgspec.Raw(b"{}"))  # type: ignore[arg-type]
        await queue.publish(b'{"to": "ada"}', {"content_type": "application/json"})  # type: ignore[arg-type]
        with pytest.raises(BodyTypeError, match="this bytes is not one: body is not JSON"):
            await queue.publish(b"no", {"content_type": "application/json"})  # type: ignore[arg-type]


async def test_an_untyped_queue_takes_what_its_consumers_read(make_app: Make) -> None:
    app = make_app()

    @app.queue("mails").consumer
    async def send(context: Context, mail: Mail) -> None: ...

    @app.queue("mixed").consumer
    async def one(body: int) -> None: ...

    @app.queue("mixed").consumer
    async def other(body: str) -> None: ...

    @app.queue("plain").consumer
    async def anything(body) -> None: ...  # type: ignore[no-untyped-def]

    @app.queue("declared", int | str).consumer
    async def some(body: int) -> None: ...

    async with app:
        for body in (Mail("ada"), {"to": "ada"}):
            await app.publish("mails", body)
        with pytest.raises(BodyTypeError, match=rf"takes Mail \(declared at {re.escape(__file__)}:\d+\)"):
            await app.publish("mails", {"size": 1})
        others: list[tuple[str, Any]] = [("mixed", [1]), ("plain", [1]), ("declared", "text")]
        for queue, other in others:
            await app.publish(queue, other)
    targets: list[Any] = [1, Mail, print, lambda a, b: None, lambda: None]
    assert {body_of(target) for target in targets} == {Any}


async def test_without_a_type_nothing_is_checked_and_nothing_is_paid(make_app: Make) -> None:
    app = make_app()
    plain, typed = app.queue("plain"), app.queue("typed", Mail)
    async with app:
        assert type(app._runtime.queue(plain)._builder) is MessageBuilder
        assert type(app._runtime.queue(typed)._builder) is TypedMessageBuilder
        await plain.publish(Mail("ada"))
        await plain.publish({"anything": 1})


_BODIES: list[Any] = [1, "a", Mail("ada"), {"b": 1}, [2]]


@pytest.mark.parametrize(
    ("type_", "codec", "made_at_once"),
    [
        (None, "json", [1, "a", {"b": 1}, [2]]),
        (int, "json", [1]),
        (Mail, "json", [Mail("ada")]),
        (dict, "json", [{"b": 1}]),
        (dict[str, Any], "json", [{"b": 1}]),
        (dict[str, Any], "msgpack", []),
        (dict[Any, Any], "msgpack", [{"b": 1}]),
        (dict[str, str], "json", []),
        (list[Any], "json", [[2]]),
        (list[int], "json", []),
        (Mail | int, "json", []),
    ],
)
async def test_bodies_that_need_no_check_are_made_without_a_call_for_each(
    make_app: Make, monkeypatch: pytest.MonkeyPatch, type_: Any, codec: Any, made_at_once: list[object]
) -> None:
    built: list[object] = []
    build_item = MessageBuilder.build_item

    def noted(builder: MessageBuilder, item: object) -> Any:
        built.append(item)
        return build_item(builder, item)

    monkeypatch.setattr(MessageBuilder, "build_item", noted)
    app = make_app()
    queue = app.queue("tasks", type_, codec=codec)
    async with app:
        results = await queue.publish_many(_BODIES)
        assert [body for body in _BODIES if body not in built] == made_at_once
        confirmed = [body for body, result in zip(_BODIES, results, strict=True) if isinstance(result, Confirmed)]
        assert [body for body in confirmed if body in made_at_once] == made_at_once
        live = app._runtime.queue(queue)
        read = [make_decoder(live.codec, Any if type_ is None else type_)(m.body) for m in await live.peek(10)]
    assert len(read) == len(confirmed)


async def test_an_object_of_the_class_itself_is_not_read_again(make_app: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    check = TypedMessageBuilder._check

    def noted(self: TypedMessageBuilder, body: object, *args: Any) -> Any:
        read.append(body)
        return check(self, body, *args)

    monkeypatch.setattr(TypedMessageBuilder, "_check", noted)
    app = make_app()
    queue = app.queue("mails", Mail)
    async with app:
        await queue.publish(Mail("ada"))
        assert read == []
        await app.publish(queue.id, {"to": "ada"})
        assert read == [{"to": "ada"}]


async def test_a_queue_in_yaml_gets_its_type_in_code(yaml: Yaml) -> None:
    yaml.write()
    app = App.load(yaml.folder)
    tasks = app.queue("app:tasks", int)
    assert app.queue("app:tasks").id == tasks.id
    async with app:
        await tasks.publish(1)
        with pytest.raises(BodyTypeError, match=r"queue 'app:tasks' takes int \(declared at .*test_typed"):
            await app.publish("app:tasks", "one")


def test_a_queue_has_one_type() -> None:
    app = App("memory://")
    app.queue("mails", Mail)
    app.queue("mails", Mail)
    with pytest.raises(InvalidEntryError) as caught:
        app.queue("mails", Note)
    assert re.search(
        r"test_typed\.py:\d+: app:mails: its body type is Note here, and Mail at .*:\d+;", str(caught.value)
    )


def test_a_type_that_no_body_can_have_is_a_mistake_of_the_project(tmp_path: Path) -> None:
    class Custom:
        pass

    app = App("memory://", root=tmp_path)
    app.queue("mails", Custom)
    with pytest.raises(
        ProjectError, match=r"test_typed\.py:\d+: app:mails: a body cannot become .*Custom; use a msgspec"
    ):
        app.check()


async def test_a_request_returns_the_type(make_app: Make) -> None:
    app = make_app()
    queue = app.queue("mails", Mail)

    @queue.consumer
    async def answer(mail: Mail) -> Any:
        if mail.to == "bad":
            raise HandlerError("bad", kind="Invalid", retryable=False)
        return {"text": mail.to}

    async with app.worker():
        assert await queue.request(Mail("ada")) == {"text": "ada"}
        assert await queue.request(Mail("ada"), returns=Note) == Note("ada")
        assert await app.request(queue, Mail("ada"), returns=Note | int) == Note("ada")
        with pytest.raises(
            InvalidBodyError, match=r"'app:mails': the reply is not the int that returns names: .*Expected `int`"
        ):
            await queue.request(Mail("ada"), returns=int)
        with pytest.raises(HandlerError, match=r"a body cannot become .*Custom"):
            await queue.request(Mail("ada"), returns=type("Custom", (), {}))
        with pytest.raises(BodyTypeError):
            await app.request("mails", 1, returns=int)


async def test_durations_may_be_timedeltas(make_app: Make) -> None:
    app = make_app()
    queue = app.queue("mails", message_ttl=timedelta(hours=1), on_expire="drop", lease=timedelta(seconds=5))
    async with app:
        assert app._runtime.queue(queue).spec.lease == 5
        await queue.publish(
            1, delay=timedelta(seconds=3), ttl=timedelta(minutes=1), publish_timeout=timedelta(seconds=9)
        )
        assert (await queue.depth()).delayed == 1


def test_a_type_is_named_as_it_is_written() -> None:
    assert [type_name(type_) for type_ in (int, list[int], int | str)] == ["int", "list[int]", "int | str"]
    assert BodyType(int, place=None) == BodyType(int, place=("elsewhere",))  # type: ignore[arg-type]
