"""time: the clock, durations, time zones, timers."""
