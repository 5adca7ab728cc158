"""Flow: the finished steps of a message and the messages that follow it, kept in the store of its queue."""
