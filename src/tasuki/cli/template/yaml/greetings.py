"""The handler of the queue of tasks, and its test."""

from dataclasses import dataclass
from logging import Logger

from tasuki import Context


@dataclass
class Task:
    """The body of a message: a body that does not fit is dead-lettered."""

    name: str


def greet(task: Task, logger: Logger) -> str:
    """Say hello; after an exception Tasuki calls again later, and dead-letters the message in the end."""
    text = f"Hello, {task.name}!"
    logger.info("%s", text)
    return text


async def test_greet(context: Context) -> bool:
    """Call the handler; a test passes unless it raises, or returns false or an error."""
    text: str = await context.call("app:greet", {"name": "Ada"})
    return text == "Hello, Ada!"
