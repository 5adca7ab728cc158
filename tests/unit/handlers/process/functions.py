"""Functions for test_child_side.py; they are loaded as the source of a handler."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tasuki import Context, Reject, Retry, Snooze
from tasuki.errors import HandlerError, HandlerNotFoundError

OPENING = datetime(2026, 4, 1, 9, tzinfo=UTC)


async def everything(body: Any, context: Context) -> dict[str, Any]:
    assert context.message is not None
    told: dict[str, Any] = {
        "of": [
            context.delivery.function,
            context.message.id,
            context.attempt,
            context.queue,
            context.delivery.consumer,
            context.delivery.values["tenant"],
        ],
        "flags": [context.stopping, context.delivery.lease_lost],
    }
    await context.publish("app:q", body, {"h": 1}, delay=1)
    context.project.check_call("app:double")
    told["called"] = [
        await context.call("app:double", 21),
        await context.call("app:double", 3, values={"a": 1}),
    ]
    told["info"] = (await context.queues.info("app:q"))["ready"]
    value = context.project.env("NAME")
    context.project.set_env("NAME", "new")
    told["env"] = [value, context.project.env_all()]
    store = context.store("app:store")
    await store.set("key", body)
    told["store"] = [await store.get("key"), await context.project.resource("app:slow").get()]
    told["taken"] = await store.take("key", 3, rate=1, burst=2)
    for refused in (store.get("other"), store.set("tuple", (1, 2))):
        try:
            await refused
        except HandlerError as error:
            told.setdefault("refused", []).append([error.kind, error.message])
    try:
        context.project.resource("app:slow")._items  # noqa: B018
    except AttributeError as error:
        told["private"] = type(error).__name__
    try:
        context.project.check_call("app:none")
    except HandlerNotFoundError as error:
        told["unknown"] = type(error).__name__
    told["permissions"] = context.project.permissions
    context.logger.info("it", extra={"a": 1})
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        context.logger.exception("failed")
    context.ack()
    return told


def counts(by: int, context: Context) -> list[Any]:
    store = context.sync.store("app:store")
    written = store.put("n", store.get("n", 0) + by, only_if_absent=True, ttl="1h")
    try:
        context.store("app:store")
    except HandlerError as error:
        return [written["value"], written["version"], store.take("n", rate=1, burst=1), error.message.partition(":")[0]]
    return []


def rights(context: Context) -> list[Any]:
    assert context.project.permissions is not None
    actor = context.project.permissions.actor()
    assert actor is not None
    can = context.project.permissions.can
    return [can("read", "it", {"a": 1}), can("write", "it"), actor["id"]]


async def caught(context: Context) -> list[str]:
    try:
        await context.call("app:f")
    except HandlerError as error:
        return [type(error).__name__, error.kind, error.message]
    return []


def fails(how: str) -> Any:
    if how == "exit":
        raise SystemExit(3)
    if how == "raise":
        return 1 / 0
    if how == "reject":
        raise Reject("bad file \udcff") from OSError("no room")
    if how == "snooze":
        raise Snooze("5m", "not open yet")
    if how == "snooze at":
        raise Snooze(at=OPENING, reason="not open yet")
    if how == "retry at":
        raise Retry("closed", at=OPENING)
    if how == "large":
        return b"x" * (33 * 2**20)
    if how == "many":
        return [1000] * 400_000
    return False if how == "false" else object()


def settles_at(verb: str, context: Context) -> None:
    if verb == "nack":
        context.nack(at=OPENING)
    else:
        context.snooze(at=OPENING)
