"""The tables of a file, and their versions."""
