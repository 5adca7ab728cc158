"""Unique: one message per key for a time, by a store."""
