"""Flow: what a message has done so far, and which messages follow it, kept in the store of its queue."""
