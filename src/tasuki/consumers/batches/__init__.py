"""Batches: lists of messages that a handler gets in one call."""
