"""Finding the project that is meant: named, set, configured, or the only one of a folder."""
