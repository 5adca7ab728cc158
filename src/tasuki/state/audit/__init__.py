"""The audit of an installation: the acts of people and programs, kept in its stores."""
