"""The times of schedules: cron expressions, time zones, intervals, and their ticks in UTC seconds."""
