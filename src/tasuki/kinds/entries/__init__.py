"""The kinds of entries, but for drivers: one model each."""
