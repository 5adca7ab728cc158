"""What the desk changes: who may, what is asked first, and the log of it."""
