"""What the desk changes: who may, the question before it, and the log of it."""
