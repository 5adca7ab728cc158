"""Run one handler of an app with a body, without a queue."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from tasuki.app.assembly import Assembly
from tasuki.consumers.reach.host_reach import CallSite, HostReach
from tasuki.contracts.context import KnownFacts
from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError, HandlerNotFoundError
from tasuki.kinds.build import is_function
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.message import HeaderValue, Message, new_id
from tasuki.queues.messages.codec import JSON
from tasuki.testing.context import RecordingContext


def find_function(assembly: Assembly, handler: object) -> str:
    """The id of the entry that a Python function was declared with. Raises HandlerNotFoundError."""
    for id, entry in assembly.project.registry.entries.items():
        if entry.target is handler and is_function(assembly.project.configs[id]):
            return id
    known = ", ".join(assembly.handlers) or "none"
    name = getattr(handler, "__qualname__", repr(handler))
    raise HandlerNotFoundError(
        f"{name} is no handler of this app; its functions are: {known}", kind="NotFound", retryable=False
    )


async def run_handler(
    assembly: Assembly, id: str, body: object, headers: Mapping[str, HeaderValue] | None, attempt: int
) -> Any:
    """What the handler returns; raises what it raises. It reads the body as its consumer's queue would carry it."""
    if id not in assembly.handlers:
        await assembly.call_from(None, id, ())  # raises the error that names similar ids
    handler = assembly.handlers[id]
    consumers = {key: config for key, config in assembly.project.of(ConsumerConfig).items() if config.func == id}
    consumer, config = next(iter(consumers.items()), ("", None))
    if config is not None and config.batch is not None:
        problem = f"{consumer} calls {id} with a batch: publish messages and drain, or call the function with a list"
        raise HandlerError(problem, kind="Invalid", retryable=False)
    codec = assembly.codecs.get(JSON) if config is None else assembly.queues[config.queue].codec
    assert codec is not None  # JSON is built in
    await handler.start()
    message = Message(new_id(), codec.encode(body), dict(headers or {}))
    facts = KnownFacts(id, logging.getLogger(f"tasuki.function.{id}"), message, attempt=attempt, failures=attempt - 1)
    if config is not None:
        facts.queue, facts.consumer = config.queue, consumer
    reach = HostReach(CallSite(assembly, id, assembly.rights.consumer(consumer) if consumer else None))
    context = Context(facts, RecordingContext(message).settling, reach)
    return await handler.handle(handler.decoder(codec)(message.body), context)
