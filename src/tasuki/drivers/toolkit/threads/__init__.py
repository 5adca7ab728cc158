"""Threads: work beside the application's event loop."""
