"""The audit of an installation: who did what, as its stores keep it."""
