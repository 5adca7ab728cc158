"""What the messages of a queue are held to: one for each key, so many a second or at once."""
