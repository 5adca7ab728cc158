"""Queues in a directory that several processes share; docs/writing-a-driver.md builds it step by step."""
