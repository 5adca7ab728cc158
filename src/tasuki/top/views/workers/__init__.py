"""Worker processes: all of them, one with what it runs, and its latest events."""
