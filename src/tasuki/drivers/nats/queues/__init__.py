"""The streams and consumers behind a queue: made, changed, counted, purged."""
