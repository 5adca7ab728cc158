"""Tasks in code: functions that are declared on a queue by name, and sent by calls that are checked."""

from tasuki.app.tasks.task import Sender, Task

__all__ = ["Sender", "Task"]
