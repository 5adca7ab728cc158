"""Batches: acts on many dead letters, kept as records in a store and driven by whichever process has their lease."""
