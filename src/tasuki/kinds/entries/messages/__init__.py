"""Rules for the messages of a queue: unique keys, rates, concurrency."""
