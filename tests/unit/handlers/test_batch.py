"""Python functions that take a batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tasuki import Context, Message, Retry
from tasuki.errors import HandlerError, InvalidBodyError
from tasuki.handlers.python import PythonBatch, problem_of_batch
from tasuki.handlers.signature import item_of
from tasuki.queues.messages.codec import JsonCodec
from tasuki.testing.context import RecordingContext

pytestmark = pytest.mark.anyio


@dataclass
class Row:
    number: int


def rows(rows: list[Row]) -> None: ...
def sequence(rows: Sequence[Row]) -> None: ...
def bare(rows: list) -> None: ...  # type: ignore[type-arg]
def plain(rows) -> None: ...  # type: ignore[no-untyped-def]
def no_body(messages: list[Message], context: Context, log: logging.Logger) -> None: ...
def all_of_it(log: logging.Logger, rows: list[Row], messages: list[Message], context: Context) -> None: ...
def one(row: Row) -> None: ...
def one_message(rows: list[Row], message: Message) -> None: ...


@pytest.mark.parametrize("function", [rows, sequence, bare, plain, no_body, all_of_it])
async def test_functions_that_can_take_a_batch(function: Callable[..., Any]) -> None:
    assert problem_of_batch(function) == ""
    await PythonBatch("app:rows", target=function).start()


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (
            one,
            "parameter 'row' is Row, but a consumer with batch calls it with a list of bodies; .* as list[Row]",
        ),
        (one_message, "parameter 'message' is one Message, .* annotate it as list\\[Message\\]"),
        (lambda first, second: None, "cannot inject parameter 'second'"),
    ],
)
async def test_functions_that_cannot_say_why(function: Callable[..., Any], problem: str) -> None:
    with pytest.raises(HandlerError, match=problem.replace("[Row]", "\\[Row\\]")) as e:
        await PythonBatch("app:rows", target=function).start()
    assert "test_batch.py:" in str(e.value)
    assert problem_of_batch(function) == str(e.value)


async def test_each_body_is_decoded_by_itself() -> None:
    handler = PythonBatch("app:rows", target=rows)
    with pytest.raises(HandlerError, match="not started"):
        handler.decoder(JsonCodec())
    await handler.start()
    decode = handler.decoder(JsonCodec())
    assert decode(b'{"number": 1}') == Row(1)
    with pytest.raises(InvalidBodyError, match="number"):
        decode(b'{"number": "one"}')


async def test_what_is_injected() -> None:
    found: list[Any] = []

    async def take(log: logging.Logger, rows: list[Row], messages: list[Message], context: Context) -> None:
        found.append((rows, messages, context.batch))

    handler = PythonBatch("app:rows", target=take)
    await handler.start()
    context = RecordingContext(Message("1", b"", {}))
    await handler.handle_batch([Row(1)], context)
    await handler.call([[{"number": 2}]], RecordingContext())
    assert found == [([Row(1)], [context.message], []), ([Row(2)], [], [])]


async def test_an_exception_class_among_the_results_is_a_failure() -> None:
    def classes(rows: list[Row]) -> tuple[Any, ...]:
        return (ValueError, Retry, Row, None)

    handler = PythonBatch("app:rows", target=classes)
    await handler.start()
    first, second, *others = await handler.handle_batch([], RecordingContext())
    assert (type(first), type(second), others) == (ValueError, Retry, [Row, None])


@pytest.mark.parametrize(
    ("type_", "item"), [(list[int], int), (Any, Any), (list, Any), (int, None), (dict[str, int], None)]
)
def test_the_item_of_a_list_type(type_: Any, item: Any) -> None:
    assert item_of(type_) is item
