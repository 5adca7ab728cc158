"""Commands about queues, their messages, schedules and consumers."""
