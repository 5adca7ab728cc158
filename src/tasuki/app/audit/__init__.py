"""The audit of an open app: its acts are kept, and read again."""
