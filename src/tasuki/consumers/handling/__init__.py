"""Handling: from a delivery to the verdict on it."""
