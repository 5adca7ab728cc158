"""When a schedule fires: cron expressions, time zones, intervals, and their ticks in UTC seconds."""
