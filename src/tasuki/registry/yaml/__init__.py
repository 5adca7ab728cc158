"""YAML documents as entries, with the place of every key."""
