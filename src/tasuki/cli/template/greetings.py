"""The handler of the queue of greetings, and its test."""

from dataclasses import dataclass
from logging import Logger

from tasuki import Context


@dataclass
class Greeting:
    """What the queue carries: a body that does not fit is dead-lettered."""

    text: str


def deliver(greeting: Greeting, logger: Logger) -> int:
    """Say the greeting; how long it is."""
    logger.info("%s", greeting.text)
    return len(greeting.text)


async def test_deliver(context: Context) -> bool:
    """A test passes unless it raises, or returns false or an error."""
    length: int = await context.call("app:deliver", {"text": "Hello, Ada!"})
    return length == 11
