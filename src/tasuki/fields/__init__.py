"""Fields of entries: their types, and the kinds that they make up; what a driver states its settings with."""
