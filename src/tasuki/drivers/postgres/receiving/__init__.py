"""Receiving: waiting receivers and how they are woken."""
