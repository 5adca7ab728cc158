"""Python functions that go wrong in every way, for tests of their isolation."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any

from tasuki import Context, Message, Reject, Retry
from tasuki.errors import QueueFullError


@dataclass
class Order:
    """A body with types."""

    number: int
    name: str = ""


def typed(order: Order, message: Message, context: Context) -> Any:
    return [type(order).__name__, order.number, message.id, message.headers["trace"], context.attempt]


def without_body(message: Message) -> str:
    return message.id


def echo(*args: Any) -> Any:
    return list(args)


def answer(body: Any) -> Any:
    return False if body == "no" else object()


async def asks(body: Any, context: Context) -> Any:
    id = await context.publish("app:other", {"from": body}, {"h": 1}, delay=2)
    info = await context.queues.info("app:other")
    called = await context.call("app:double", 21)
    return [
        len(id),
        info["message_count"],
        called,
        context.project.env("NAME"),
        context.stopping,
        context.delivery.lease_lost,
    ]


def stores(body: Any, context: Context) -> Any:
    store = context.sync.store("app:store")
    store.set("key", body, ttl=60)
    return [store.get("key"), store.list(prefix="k")["items"][0]["version"]]


async def catches(body: Any, context: Context) -> Any:
    try:
        await context.publish("app:full", body)
    except QueueFullError as error:
        return [str(error), error.queue, error.outcome, error.retryable]
    return None


def logs(body: Any, context: Context) -> None:
    context.logger.info("inside %s", body, extra={"colour": "red"})
    logging.getLogger("theirs").warning("outside")


def settles(body: Any, context: Context) -> None:
    context.nack("5s")


def signals(body: Any) -> None:
    raise Retry("later", after="7s") if body == "retry" else Reject("never")


def raises(body: Any) -> None:
    raise ZeroDivisionError("by zero")


class Hostile(Exception):
    """Cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def raises_hostile(body: Any) -> None:
    raise Hostile


def wrong(how: str) -> None:
    """The ways to go wrong that cost the process."""
    if how == "exit":
        os._exit(3)
    elif how == "segfault":
        ctypes.string_at(0)
    elif how == "abort":
        os.abort()
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "close":
        os.closerange(0, 256)
        time.sleep(60)
    elif how == "garbage":
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b"\xff" * 64)
            except OSError:
                pass
        time.sleep(60)


def harmless(how: str) -> Any:
    """The ways to go wrong that the process survives."""
    if how == "sys.exit":
        sys.exit(4)
    elif how == "memory":
        return len(bytearray(512 * 2**20))
    elif how == "recursion":
        return harmless(how)
    elif how == "folder":
        os.chdir("/")
        os.environ["CHANGED"] = "1"
    return "survived"


def spins(body: Any) -> Any:
    while body == "spin":
        pass
    return body


def spins_on(body: Any) -> Any:
    while body == "spin":
        try:
            spins(body)
        except BaseException:
            continue
    return body


async def blocks(body: Any) -> Any:
    time.sleep(60)  # holds up the loop of its process


async def waits(body: Any, context: Context) -> Any:
    await context.publish("app:entered", body)
    try:
        await asyncio.sleep(60)
    finally:
        await context.publish("app:cleaned", body)


def pid(body: Any) -> int:
    return os.getpid()


def meets(body: Any, context: Context) -> int:
    """Returns when two processes are in here at a time."""
    store = context.sync.store("app:store")
    store.set(str(os.getpid()), True)
    ends_at = time.monotonic() + 20
    while len(store.list()["items"]) < 2 and time.monotonic() < ends_at:
        time.sleep(0.005)
    return len(store.list()["items"])


def forks(body: Any) -> None:
    if not os.fork():
        time.sleep(30)
    os._exit(5)
