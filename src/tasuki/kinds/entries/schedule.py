"""``queue.schedule``: a message for a queue at each tick of a cron expression or an interval."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from tasuki.fields.types import Config, Duration, Flag, Id, Kind, PositiveDuration, Text, at_field
from tasuki.schedules.schedule import is_spread, spread
from tasuki.schedules.timing import Timing, cron_timing, every_timing


class ScheduleConfig(Config):
    """A schedule: any worker of the project publishes its message, once at each tick."""

    other_names: ClassVar = {
        "schedule": "write cron: '0 9 * * *', or every: 30s",
        "interval": "did you mean 'every'?",
        "crontab": "did you mean 'cron'?",
        "tz": "did you mean 'timezone'?",
        "func": "name the queue of a consumer that calls it",
        "args": "did you mean 'body'?",
        "payload": "did you mean 'body'?",
    }

    queue: Id
    """The queue that it publishes to."""
    cron: Text | None = None
    """Five fields (minute, hour, day of month, month, day of week), or @hourly, @daily, @weekly, @monthly, @yearly.

    A field may be random: one of its values, which stays the same for the schedule and the installation.
    """
    every: PositiveDuration | None = None
    """An interval of whole seconds, counted from 1970-01-01 00:00 UTC: a restart does not shift it."""
    timezone: Text = "UTC"
    """The zone by whose clocks cron is read, such as Asia/Tokyo."""
    body: Any = None
    """The body of each message; with task, the arguments by name."""
    headers: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Headers of each message."""
    task: Text | None = None
    """The name of a task of the queue's consumer, which each message calls."""
    catch_up: Literal["skip", "one", "all"] = "skip"
    """Ticks of a time without a worker. skip: only the last minute; one: the last tick; all: the last 1,000."""
    overlap: Literal["allow", "skip"] = "allow"
    """skip: no message at a tick while an earlier one of this schedule is not done."""
    jitter: Duration = 0.0
    """Longest time by which a message comes after its tick; the same on every worker."""
    enabled: Flag = True
    """Whether it publishes; a schedule that is off is still checked."""

    @model_validator(mode="after")
    def _has_a_timing(self) -> ScheduleConfig:
        if self.cron is None and self.every is None:
            raise at_field("cron", "a schedule needs cron ('0 9 * * mon-fri') or every (30s)")
        if self.cron is not None and self.every is not None:
            raise at_field("every", "cron and every both say when: give one of them")
        if self.every is not None and "timezone" in self.model_fields_set:
            raise at_field("timezone", "timezone belongs to cron; an interval has none")
        try:
            assert self.timing("", "")
        except ValueError as error:
            field = str(error).partition(" ")[0]
            raise at_field(field if field in ("timezone", "every") else "cron", str(error)) from None
        if self.task is not None and not (self.body is None or isinstance(self.body, dict)):
            raise at_field("body", "a task takes its arguments by name: write body: {name: value}")
        return self

    @property
    def needs_salt(self) -> bool:
        """Whether its times differ between installations."""
        return bool(self.jitter) or (self.cron is not None and is_spread(self.cron))

    def timing(self, id: str, salt: str) -> Timing:
        """When it ticks; ``id``: of the schedule, ``salt``: of the installation."""
        if self.cron is None:
            return every_timing(self.every)
        return cron_timing(spread(self.cron, id, salt), self.timezone)


KINDS = (Kind("queue.schedule", ScheduleConfig, {"queue": ("queue.queue",)}),)
